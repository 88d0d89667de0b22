#include "schema/patch_merge.h"

#include "schema/members.h"

namespace limpet::schema {

namespace {

void merge_object(json::Ref target, json::Ref patch) {
  Members members(target, patch.size());
  for (json::Ref change : patch) {
    if (change.is_null()) {
      members.remove(change.key());
    } else if (change.is_object()) {
      json::Ref inner = members.find(change.key());
      // What is missing starts empty, so that nulls inside the patch never reach the result.
      if (!inner.is_object()) inner = members.set(change.key(), json::Value::object());
      merge_object(inner, change);
    } else {
      members.set(change.key(), change.clone());
    }
  }
}

}  // namespace

json::Value apply_merge_patch(json::Value target, json::Ref patch) {
  if (!patch.is_object()) return patch.clone();
  if (!target.ref().is_object()) target = json::Value::object();
  merge_object(target.ref(), patch);
  return target;
}

}  // namespace limpet::schema

#include "controllers/object.h"

#include <charconv>

#include "base/clock.h"

namespace limpet::controllers {

int64_t read_version(std::string_view text) {
  int64_t v = 0;
  std::from_chars(text.data(), text.data() + text.size(), v);
  return v;
}

int64_t read_time(json::Cursor text) {
  if (!text) return 0;
  const Result<WallTime> t = parse_rfc3339(text.str());
  return t ? t->seconds : 0;
}

void read_object(json::Cursor object, Object& out) {
  object["metadata"].each([&out](std::string_view key, json::Cursor value) {
    if (key == "namespace") {
      out.ns = value.str();
    } else if (key == "name") {
      out.name = value.str();
    } else if (key == "uid") {
      out.uid = value.str();
    } else if (key == "resourceVersion") {
      out.version = read_version(value.str());
    } else if (key == "generation") {
      out.generation = value.integer();
    } else if (key == "creationTimestamp") {
      out.created_s = read_time(value);
    } else if (key == "deletionTimestamp") {
      out.deleting = true;
    } else if (key == "labels") {
      out.labels = std::string(value.raw());
    } else if (key == "ownerReferences") {
      value.each([&out](std::string_view, json::Cursor r) {
        if (!r["controller"].boolean()) return true;
        out.controller = {r["apiVersion"].str(), r["kind"].str(), r["name"].str(), r["uid"].str()};
        return false;
      });
    }
    return true;
  });
}

Claim claim(const Object& owner, const schema::LabelSelector& selector, const Object& object) {
  if (!object.controller.none()) {
    if (object.controller.uid != owner.uid) return Claim::not_mine;
    if (object.matches(selector)) return Claim::mine;
    // An owner that goes leaves its objects to the garbage collector.
    return owner.deleting ? Claim::not_mine : Claim::release;
  }
  if (owner.deleting || object.deleting || !object.matches(selector)) return Claim::not_mine;
  return Claim::adopt;
}

}  // namespace limpet::controllers

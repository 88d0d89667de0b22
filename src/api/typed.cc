#include "api/typed.h"

#include "api/object.h"
#include "api/write.h"
#include "schema/apply.h"
#include "schema/validate.h"

namespace limpet::api {
namespace {

Outcome<> judge(const schema::Resource& r, json::Ref object, const schema::FieldErrors& errors) {
  if (errors.empty()) return {};
  std::vector<Cause> causes;
  for (const schema::FieldError& e : errors) causes.push_back({std::string(e.reason()), e.body(), e.field});
  json::Ref meta = object["metadata"];
  std::string_view name = meta["name"].str();
  if (name.empty()) name = meta["generateName"].str();
  return std::unexpected(status::invalid(r.group(), r.kind(), name, std::move(causes)));
}

}  // namespace

Outcome<> validate_new(const schema::Resource& r, json::Ref object) {
  return judge(r, object, schema::validate_create(r, object));
}

Outcome<> validate_ephemeral(const schema::Resource& r, json::Ref pod) {
  return judge(r, pod, schema::validate_ephemeral_containers(pod));
}

Outcome<> validate_change(const schema::Resource& r, json::Ref object, json::Ref old, bool status) {
  return judge(
      r, object,
      status ? schema::validate_status_update(r, object, old) : schema::validate_update(r, object, old));
}

void record_creator(const Call& call, const schema::Resource& r, json::Ref object) {
  json::Ref meta = object["metadata"];
  if (r.kind() != "Event" || meta["managedFields"].size() > 0)
    return record_manager(call, r, object, json::Ref(), "");
  meta.remove("managedFields");
}

void record_manager(const Call& call, const schema::Resource& r, json::Ref object, json::Ref old,
                    std::string_view subresource) {
  schema::FieldManager manager{field_manager(call), api_version(r.group(), r.version()),
                               std::string(subresource)};
  schema::track_update(*r.type(), old, object, manager, call.core.clock.wall());
}

}  // namespace limpet::api

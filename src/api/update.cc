#include "api/body.h"
#include "api/object.h"
#include "api/verbs.h"
#include "api/write.h"

namespace limpet::api {

Part part_of(std::string_view subresource) {
  if (subresource == "status") return Part::status;
  return subresource.empty() ? Part::main : Part::whole;
}

void update_object(CallPtr call) {
  const schema::Resource& r = *call->resource;
  Outcome<json::Value> object = decode_object(*call, *r.type(), r.group(), r.version(), r.kind());
  if (!object) return call->fail(object.error());
  if (Outcome<> o = check_address(*call, object->ref(), true); !o) return call->fail(o.error());
  Update u;
  u.part = part_of(call->info.subresource);
  u.key = object_key(r, call->ns(), call->info.name);
  auto body = std::make_shared<json::Value>(std::move(*object));
  u.make = [body](const store::Item*) -> Outcome<json::Value> { return body->clone(); };
  run_update(std::move(call), std::move(u));
}

}  // namespace limpet::api

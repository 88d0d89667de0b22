#include "api/body.h"
#include "api/object.h"
#include "api/verbs.h"
#include "api/write.h"

namespace limpet::api {

Outcome<> check_address(const Call& call, json::Ref object, bool with_name) {
  json::Ref meta = object.ensure_object("metadata");
  std::string_view name = meta["name"].str(), ns = meta["namespace"].str();
  if (with_name) {
    if (name.empty()) {
      return std::unexpected(status::bad_request("the name of the object (" + call.info.name +
                                                 " based on URL) was undeterminable: name must be provided"));
    }
    if (name != call.info.name) {
      return std::unexpected(status::bad_request("the name of the object (" + std::string(name) +
                                                 ") does not match the name on the URL (" + call.info.name +
                                                 ")"));
    }
  }
  if (!call.resource->namespaced()) {
    if (!ns.empty()) meta.remove("namespace");
    return {};
  }
  if (!ns.empty() && ns != call.info.ns) {
    return std::unexpected(status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request"));
  }
  meta.set("namespace", call.info.ns);
  return {};
}

void create_object(CallPtr call) {
  const schema::Resource& r = *call->resource;
  if (r.namespaced() && call->info.ns.empty()) return call->fail(status::method_not_allowed());
  Outcome<json::Value> object = decode_object(*call, *r.type(), r.group(), r.version(), r.kind());
  if (!object) return call->fail(object.error());
  if (Outcome<> o = check_address(*call, object->ref(), false); !o) return call->fail(o.error());
  run_create(std::move(call), std::move(*object));
}

}  // namespace limpet::api

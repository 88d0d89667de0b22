// POST pods/NAME/binding: the scheduler puts a pod on a node.
#include "api/body.h"
#include "api/object.h"
#include "api/subresources.h"
#include "api/write.h"
#include "schema/names.h"

namespace limpet::api {
namespace {

void set_scheduled(json::Ref pod, WallTime now) {
  json::Ref conditions = pod.ensure_object("status").ensure_array("conditions");
  json::Ref entry;
  for (json::Ref c : conditions) {
    if (c["type"].str() == "PodScheduled") entry = c;
  }
  if (!entry) {
    entry = conditions.push(json::Value::object());
    entry.set("type", "PodScheduled");
  }
  entry.set("status", "True");
  entry.set("lastTransitionTime", rfc3339(now));
  entry.remove("reason");
  entry.remove("message");
}

}  // namespace

void bind_pod(CallPtr call) {
  const schema::Resource* r = schema::find_resource("", "v1", "bindings");
  if (!r) return call->fail(status::no_such_path());
  Outcome<json::Value> binding = decode_object(*call, *r->type(), "", "v1", "Binding");
  if (!binding) return call->fail(binding.error());
  json::Ref target = binding->ref()["target"];
  std::string node(target["name"].str()), uid(binding->ref()["metadata"]["uid"].str());
  std::string_view kind = target["kind"].str();
  if (node.empty() || (!kind.empty() && kind != "Node")) {
    return call->fail(status::invalid("", "Binding", call->info.name,
                                      {{"FieldValueRequired", "Required value", "target.name"}}));
  }
  if (schema::Messages wrong = schema::check_dns1123_subdomain(node); !wrong.empty()) {
    return call->fail(
        status::invalid("", "Binding", call->info.name,
                        {{"FieldValueInvalid", "Invalid value: " + json::quoted(node) + ": " + wrong.front(),
                          "target.name"}}));
  }
  Update u;
  u.part = Part::whole;
  u.key = object_key(*call->resource, call->ns(), call->info.name);
  Call* raw = call.get();  // the Updater holds the call as long as it may ask
  u.make = [raw, node, uid](const store::Item* current) -> Outcome<json::Value> {
    Result<json::Value> pod = parse_stored(*current->value, current->mod_revision);
    if (!pod) return std::unexpected(status::from_error(pod.error()));
    const schema::Resource& pods = *raw->resource;
    json::Ref meta = pod->ref()["metadata"];
    if (!uid.empty() && uid != meta["uid"].str()) {
      return std::unexpected(
          status::conflict(pods, raw->info.name, "the pod was replaced by another of its name"));
    }
    if (meta["deletionTimestamp"]) {
      return std::unexpected(status::conflict(
          pods, raw->info.name, "pod " + raw->info.name + " is being deleted, cannot be assigned to a host"));
    }
    std::string_view bound = pod->ref()["spec"]["nodeName"].str();
    if (!bound.empty()) {
      return std::unexpected(status::conflict(
          pods, raw->info.name,
          "pod " + raw->info.name + " is already assigned to node \"" + std::string(bound) + "\""));
    }
    pod->ref().ensure_object("spec").set("nodeName", node);
    set_scheduled(pod->ref(), raw->core.clock.wall());
    return std::move(*pod);
  };
  u.answer = [](const CallPtr& c, std::string_view, store::Revision, bool) {
    Status s;
    s.code = 201;
    c->respond(201, s.json());
  };
  run_update(std::move(call), std::move(u));
}

}  // namespace limpet::api

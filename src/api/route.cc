#include "api/route.h"

#include "api/discovery.h"
#include "api/health.h"
#include "api/heartbeat.h"
#include "api/openapi.h"
#include "api/subresources.h"
#include "api/verbs.h"
#include "base/json.h"

namespace limpet::api {
namespace {

using Verb = void (*)(CallPtr);

struct Route {
  std::string_view resource;  // "" for any
  std::string_view subresource;
  std::string_view verb;
  Verb serve;
};

constexpr Route kRoutes[] = {
    {"", "", "get", get_object},
    {"", "", "list", list_objects},
    {"", "", "watch", watch_objects},
    {"", "", "create", create_object},
    {"", "", "update", update_object},
    {"", "", "patch", patch_object},
    {"", "", "delete", delete_object},
    {"", "", "deletecollection", delete_collection},
    {"", "status", "get", get_object},
    {"", "status", "update", update_object},
    {"", "status", "patch", patch_object},
    {"", "scale", "get", get_scale},
    {"", "scale", "update", update_scale},
    {"", "scale", "patch", patch_scale},
    {"pods", "ephemeralcontainers", "get", get_object},
    {"pods", "ephemeralcontainers", "update", update_object},
    {"pods", "ephemeralcontainers", "patch", patch_object},
    {"pods", "resize", "get", get_object},
    {"pods", "log", "get", pod_log},
    {"pods", "exec", "get", pod_exec},
    {"pods", "exec", "create", pod_exec},
    {"pods", "attach", "get", pod_exec},
    {"pods", "attach", "create", pod_exec},
    {"pods", "binding", "create", bind_pod},
    {"pods", "eviction", "create", evict_pod},
    {"serviceaccounts", "token", "create", create_token},
    {"namespaces", "finalize", "update", finalize_namespace},
};

// The declared subresource: "name=Kind:verb,verb".
bool declared(const schema::Resource& r, std::string_view name) {
  for (std::string_view s : r.subresources()) {
    if (s.starts_with(name) && s.size() > name.size() && s[name.size()] == '=') return true;
  }
  return false;
}

void serve_resource(const CallPtr& call) {
  const RequestInfo& i = call->info;
  const schema::Resource* r = schema::find_resource(i.group, i.version, i.resource);
  if (!r || i.malformed || (!r->namespaced() && !i.ns.empty() && i.resource != "namespaces")) {
    return call->fail(status::no_such_path());
  }
  call->resource = r;
  if (!i.subresource.empty() && !declared(*r, i.subresource)) return call->fail(status::no_such_path());
  if (r->namespaced() && i.ns.empty() && !i.name.empty()) return call->fail(status::no_such_path());
  if (i.subresource.empty() && !r->verbs().contains(i.verb)) return call->fail(status::method_not_allowed());
  bool streams = i.subresource == "log" || i.subresource == "exec" || i.subresource == "attach";
  if (!streams) {
    std::optional<Answer> a =
        negotiate(call->request().headers.get("Accept"), call->query().get("includeObject"),
                  r->storage() != schema::Storage::none);
    if (!a) return call->fail(status::not_acceptable(kServedTypes));
    call->answer = *a;
  }
  std::string_view dry = call->query().get("dryRun");
  if (!dry.empty() && dry != "All") {
    return call->fail(status::invalid(
        "meta.k8s.io", "CreateOptions", "",
        {{"FieldValueNotSupported",
          "Unsupported value: " + json::quoted(dry.substr(0, 64)) + ": supported values: \"All\"",
          "dryRun"}}));
  }
  call->set_dry_run(dry == "All");
  if (r->storage() == schema::Storage::none) return create_review(call);
  for (const Route& route : kRoutes) {
    if ((route.resource.empty() || route.resource == i.resource) && route.subresource == i.subresource &&
        route.verb == i.verb) {
      return route.serve(call);
    }
  }
  if (i.subresource == "portforward" || i.subresource == "proxy") {
    return call->fail(status::from_error({Errc::unsupported, i.subresource + " is not served yet"}));
  }
  call->fail(status::method_not_allowed());
}

void serve_document(const CallPtr& call) {
  if (call->request().method != "GET" && call->request().method != "HEAD") {
    return call->fail(status::method_not_allowed());
  }
  if (serve_health(call) || serve_openapi(call)) return;
  bool not_acceptable = false;
  std::optional<Document> d =
      discover(call->info.path, call->request().headers.get("Accept"), &not_acceptable);
  if (not_acceptable) return call->fail(status::not_acceptable(kServedTypes));
  if (!d) return call->fail(status::no_such_path());
  call->respond(200, std::move(d->body), d->content_type);
}

}  // namespace

void route(CallPtr call) {
  if (call->info.is_resource) {
    serve_resource(call);
  } else if (!serve_heartbeat(call)) {
    serve_document(call);
  }
}

}  // namespace limpet::api

#include "api/authorisation.h"

#include "api/authz.h"
#include "api/node_graph_feed.h"

namespace limpet::api {
namespace {

void refuse(const CallPtr& call, std::string_view reason) {
  const RequestInfo& i = call->info;
  if (call->user.anonymous()) return call->fail(status::unauthorized());
  if (!i.is_resource) return call->fail(status::forbidden_path(call->user.name, i.verb, i.path));
  const std::string why = denial(call->user, i, reason);
  if (const schema::Resource* r = schema::find_resource(i.group, i.version, i.resource))
    return call->fail(status::forbidden(*r, i.name, why));
  Status s = status::no_such_path();
  s.code = 403;
  s.reason = "Forbidden";
  s.message = qualified(i.resource, i.group) + " is forbidden: " + why;
  call->fail(s);
}

}  // namespace

bool authorise(const CallPtr& call) {
  const Decision d = authorize(call->user, call->info, call->core.node_graph->graph());
  call->unsure = d.is == Decision::Is::unsure;
  if (d.is != Decision::Is::denied) return true;
  refuse(call, d.reason);
  return false;
}

void confirm_authorisation(CallPtr call, std::function<void(const CallPtr&)> allowed) {
  call->core.node_graph->catch_up([call, allowed = std::move(allowed)](Result<> r) {
    if (call->answered() || call->gone()) return;
    if (!r) return call->fail(status::from_error(r.error()));
    const Decision d = authorize(call->user, call->info, call->core.node_graph->graph());
    if (!d.allowed()) return refuse(call, d.reason);
    call->unsure = false;
    allowed(call);
  });
}

}  // namespace limpet::api

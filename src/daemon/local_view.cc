#include "daemon/local_view.h"

#include "api/exec.h"
#include "api/log_options.h"
#include "api/pod_target.h"
#include "base/json.h"
#include "daemon/local_api.h"
#include "daemon/node_wire.h"

namespace limpet::daemon {
namespace {

constexpr std::string_view all_pods = "/api/v1/pods";
constexpr std::string_view namespaces = "/api/v1/namespaces/";

// NS, NAME and SUBRESOURCE of /api/v1/namespaces/NS/pods[/NAME[/SUBRESOURCE]].
struct Place {
  std::string ns, name, sub;
};
std::optional<Place> place_of(std::string_view path) {
  if (path == all_pods) return Place{};
  if (!path.starts_with(namespaces)) return std::nullopt;
  std::vector<std::string> parts;
  for (path.remove_prefix(namespaces.size()); parts.size() < 5;) {
    const size_t end = std::min(path.find('/'), path.size());
    parts.emplace_back(path.substr(0, end));
    if (end == path.size()) break;
    path.remove_prefix(end + 1);
  }
  if (parts.size() < 2 || parts.size() > 4 || parts[1] != "pods" || parts[0].empty()) return std::nullopt;
  parts.resize(4);
  return Place{parts[0], parts[2], parts[3]};
}

void fail(const http::ExchangePtr& exchange, const api::Status& status) {
  http::Response response = local_json(status.json());
  response.status = status.code;
  exchange->respond(std::move(response));
}

bool ended(std::string_view pod) {
  const json::Cursor phase = json::Cursor(pod)["status"]["phase"];
  return phase.str_equals("Succeeded") || phase.str_equals("Failed");
}

}  // namespace

void LocalView::handle(http::ExchangePtr exchange) {
  const http::Request& request = exchange->request();
  const http::Peer& peer = request.peer;
  const bool root = peer.kind == http::Peer::Kind::unix_socket && peer.uid == 0;
  if (!root && !(peer.kind == http::Peer::Kind::unix_socket && hooks_.may_read(peer.uid, peer.gid))) {
    return exchange->respond(
        local_failure(403, "Forbidden", strf("uid %u may not use limpet on this device", peer.uid)));
  }
  if (request.path == "/metrics" && request.method == "GET") return measure(exchange);
  const std::optional<Place> at = place_of(request.path);
  if (!at) {
    return exchange->respond(local_failure(
        404, "NotFound",
        "this device is an agent and knows its own pods only: ask a server for " + request.path));
  }
  if (request.method != "GET") {
    return exchange->respond(
        local_failure(405, "MethodNotAllowed", "this device is an agent: changes are made through a server"));
  }
  if (at->name.empty()) return list(exchange, at->ns);
  const std::optional<std::string> pod = hooks_.pod(at->ns, at->name);
  if (!pod) {
    return exchange->respond(
        local_failure(404, "NotFound", "pod \"" + at->ns + "/" + at->name + "\" is not on this device"));
  }
  if (at->sub.empty()) return exchange->respond(local_json(*pod));
  if (at->sub != "log" && !root)
    return exchange->respond(local_failure(403, "Forbidden", "commands in containers need root"));
  open(std::move(exchange), *pod, at->sub);
}

void LocalView::measure(const http::ExchangePtr& exchange) const {
  http::Response response;
  response.headers.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = hooks_.metrics();
  exchange->respond(std::move(response));
}

void LocalView::list(const http::ExchangePtr& exchange, const std::string& ns) const {
  for (const char* option : {"watch", "fieldSelector", "labelSelector"}) {
    if (!exchange->request().query.has(option)) continue;
    return exchange->respond(local_failure(
        400, "BadRequest", strf("this device is an agent: it lists all its pods and knows no %s", option)));
  }
  std::string out = R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[)";
  bool first = true;
  for (const std::string& pod : hooks_.pods(ns)) out += (std::exchange(first, false) ? "" : ",") + pod;
  exchange->respond(local_json(out + "]}"));
}

void LocalView::open(http::ExchangePtr exchange, const std::string& pod, std::string_view what) {
  if (what != "log" && what != "exec" && what != "attach") return fail(exchange, api::status::no_such_path());
  const http::Query& query = exchange->request().query;
  NodeCall call;
  const api::Outcome<api::ContainerRef> container =
      api::pick_container(pod, query.get("container"), what == "log");
  if (!container) return fail(exchange, container.error());
  call.container = *container;
  if (what == "log") {
    api::Outcome<api::LogOptions> options = api::read_log_options(query);
    if (!options) return fail(exchange, options.error());
    call.log = std::move(*options);
    return service_.serve(std::move(exchange), call);
  }
  if (ended(pod)) {
    return fail(exchange,
                api::status::bad_request("the pod has ended: nothing can be run in its containers"));
  }
  call.verb = what == "exec" ? NodeCall::Verb::exec : NodeCall::Verb::attach;
  api::Outcome<api::ExecRequest> request = api::read_exec_request(query, what == "attach");
  if (!request) return fail(exchange, request.error());
  call.exec = std::move(*request);
  service_.serve(std::move(exchange), call);
}

}  // namespace limpet::daemon

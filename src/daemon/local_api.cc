#include "daemon/local_api.h"

#include "api/status.h"

namespace limpet::daemon {
namespace {

constexpr std::string_view root = "/limpet/v1/";

}  // namespace

http::Response local_json(std::string body) {
  http::Response response;
  response.headers.set("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

http::Response local_failure(int code, std::string_view reason, std::string message) {
  api::Status status;
  status.code = code;
  status.reason = reason;
  status.message = std::move(message);
  http::Response response = local_json(status.json());
  response.status = code;
  return response;
}

void LocalApi::serve(const std::string& name, http::Handler handler, Access access) {
  if (handler) {
    routes_[name] = {std::move(handler), access};
  } else {
    routes_.erase(name);
  }
}

void LocalApi::describe(const std::string& name, Describe f) {
  if (f) {
    status_[name] = std::move(f);
  } else {
    status_.erase(name);
  }
}

http::Handler LocalApi::over(http::Handler api) {
  return [this, api = std::move(api)](http::ExchangePtr exchange) {
    if (exchange->request().path.starts_with(root)) return handle(exchange);
    api(std::move(exchange));
  };
}

void LocalApi::handle(const http::ExchangePtr& exchange) {
  const http::Request& request = exchange->request();
  const bool get = request.method == "GET";
  const bool is_root = request.peer.kind == http::Peer::Kind::unix_socket && request.peer.uid == 0;
  if (!is_root && !(may_read_ && may_read_(request.peer.uid, request.peer.gid))) {
    return exchange->respond(
        local_failure(403, "Forbidden", strf("uid %u may not use limpet on this device", request.peer.uid)));
  }
  const std::string rest = request.path.substr(root.size());
  const std::string name = rest.substr(0, rest.find('/'));
  const auto route = routes_.find(name);
  if (!is_root && (!get || (route != routes_.end() && route->second.access == Access::root))) {
    return exchange->respond(local_failure(
        403, "Forbidden", strf("uid %u may only look at this device: this needs root", request.peer.uid)));
  }
  if (route != routes_.end()) {
    const http::Handler handler = route->second.handler;  // the call may take the route away
    return handler(exchange);
  }
  if (rest != "status") {
    return exchange->respond(
        local_failure(404, "NotFound", "limpetd has no " + request.path + " (it may be older)"));
  }
  if (!get) return exchange->respond(local_failure(405, "MethodNotAllowed", "the status is only read"));
  json::Writer w;
  w.begin_object();
  for (const auto& [member, describe] : status_) {
    w.key(member);
    describe(w);
  }
  w.end_object();
  exchange->respond(local_json(w.take()));
}

}  // namespace limpet::daemon

#include "daemon/cluster_service.h"

#include "api/server.h"
#include "base/log.h"
#include "client/in_process.h"
#include "cluster/token.h"
#include "daemon/cluster_status.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/member_records.h"
#include "daemon/names.h"
#include "daemon/own_objects.h"

namespace limpet::daemon {
namespace {

constexpr std::string_view base = "/limpet/v1/";

constexpr int64_t status_wait_ms = 1'500;

std::string message(const std::string& text) {
  json::Writer w;
  w.begin_object().field("message", text).end_object();
  return w.take();
}

http::Response unknown(const http::Request& request) {
  return local_failure(404, "NotFound", "limpetd has no " + request.path + " (it may be older)");
}

// The path below /limpet/v1/.
std::string_view below(const http::Request& request) {
  return std::string_view(request.path).substr(std::min(base.size(), request.path.size()));
}

bool is(std::string_view path, std::string_view name) {
  return path == name || (path.size() > name.size() && path.starts_with(name) && path[name.size()] == '/');
}

std::string secrets_path(std::string_view id = {}) {
  const std::string all = "/api/v1/namespaces/" + std::string(cluster::token_namespace) + "/secrets";
  return id.empty() ? all : all + "/" + http::percent_encode(cluster::token_secret_name(id));
}

}  // namespace

ClusterService::ClusterService(Device& device, loop::Task joined)
    : device_(device),
      keys_(device),
      keeper_(device),
      joins_(device, keys_, std::move(joined)),
      renewals_(device, keeper_),
      join_(device),
      client_(std::make_unique<client::InProcessClient>(device.loop, device.api->handler(), "limpet-admin",
                                                        std::vector<std::string>{"system:masters"})),
      departures_(device, *client_, keeper_),
      relay_(device.loop, *device.cluster) {}

ClusterService::~ClusterService() = default;

http::Handler ClusterService::local() {
  return [this](http::ExchangePtr e) { serve_local(std::move(e)); };
}

http::Handler ClusterService::public_over(http::Handler api) {
  return [this, api = std::move(api)](http::ExchangePtr e) {
    const std::string_view path = e->request().path.starts_with(base) ? below(e->request()) : "";
    if (path != "join" && path != "renew") return api(std::move(e));
    if (path == "renew" && !renewals_.admit(e)) return;
    serve_leader(std::move(e));
  };
}

http::Handler ClusterService::servers_over(http::Handler api) {
  return [this, api = std::move(api)](http::ExchangePtr e) {
    if (!e->request().path.starts_with(base)) return api(std::move(e));
    const std::string_view path = below(e->request());
    if (path == "cluster/trust") return keeper_.take_report(std::move(e));
    if (path != "join" && path != "renew" && path != "cluster" && path != "cluster/authority" &&
        !is(path, "cluster/nodes"))
      return api(std::move(e));
    serve_leader(std::move(e));
  };
}

void ClusterService::serve_local(http::ExchangePtr e) {
  const std::string_view path = below(e->request());
  if (is(path, "tokens")) return tokens(std::move(e), path.substr(std::min<size_t>(path.size(), 7)));
  if (path == "cluster/join") return join(std::move(e));
  if (path == "cluster/certificates") return keeper_.renew_certificates(std::move(e));
  serve_leader(std::move(e));
}

// What the leader does, or another server hands on to it: once, never in circles.
void ClusterService::serve_leader(http::ExchangePtr e) {
  const std::string path(below(e->request()));
  const bool leads = device_.leadership->term() != 0;
  if (path == "cluster" && e->request().method == "GET") {
    if (leads || e->request().peer.kind == http::Peer::Kind::forwarded) return status(std::move(e));
    return relay_.hand_on(e, status_wait_ms, [this, e] { status(e); });
  }
  if (path != "join" && path != "renew" && path != "cluster/authority" && !is(path, "cluster/nodes"))
    return e->respond(unknown(e->request()));
  if (!leads) {
    return relay_.hand_on(e, 0, [e] {
      e->respond(
          refusal_of({Errc::unavailable,
                      "the cluster has no leader at the moment, or it is not in reach: try again", 0}));
    });
  }
  if (path == "join") return joins_.serve(std::move(e));
  if (path == "renew") return renewals_.serve(std::move(e));
  if (path == "cluster/authority") return keeper_.authority(std::move(e));
  nodes(std::move(e), std::string_view(path).substr(std::string_view("cluster/nodes").size()));
}

void ClusterService::status(http::ExchangePtr e) { e->respond(local_json(cluster_status(device_))); }

// ---- devices that leave ----

void ClusterService::nodes(http::ExchangePtr e, std::string_view rest) {
  if (!rest.empty()) rest.remove_prefix(1);
  constexpr std::string_view revoke = "/revoke";
  const std::string& method = e->request().method;
  if (method == "DELETE" && !rest.empty()) return departures_.leave(std::move(e), std::string(rest), false);
  if (method == "POST" && rest.ends_with(revoke))
    return departures_.leave(std::move(e), std::string(rest.substr(0, rest.size() - revoke.size())), true);
  e->respond(unknown(e->request()));
}

void ClusterService::api_call(http::ExchangePtr exchange, client::Call call,
                              std::function<void(const http::ExchangePtr&, const client::Reply&)> done) {
  const uint64_t id = next_call_++;
  calls_[id] =
      client_->call(std::move(call), [this, id, exchange, done = std::move(done)](Result<client::Reply> r) {
        const auto ended = std::move(calls_[id]);
        calls_.erase(id);
        if (!r) return exchange->respond(refusal_of(r.error()));
        done(exchange, *r);
      });
}

// ---- tokens ----

void ClusterService::tokens(http::ExchangePtr e, std::string_view rest) {
  const std::string& method = e->request().method;
  if (rest.empty() && method == "POST") return create_token(std::move(e));
  if (rest.empty() && method == "GET") return list_tokens(std::move(e));
  if (rest.size() < 2 || method != "DELETE") return e->respond(unknown(e->request()));
  const std::string id(rest.substr(1));
  client::Call call;
  call.method = "DELETE";
  call.path = secrets_path(id);
  api_call(std::move(e), std::move(call),
           [id](const http::ExchangePtr& exchange, const client::Reply& reply) {
             if (reply.status == 404)
               return exchange->respond(local_failure(404, "NotFound", "there is no token " + id));
             if (!reply.ok())
               return exchange->respond(local_failure(reply.status, "InternalError", reply.error().message));
             exchange->respond(local_json(message("the token " + id + " lets nobody in any more")));
           });
}

void ClusterService::create_token(http::ExchangePtr e) {
  if (!json::validate(e->request().body))
    return e->respond(local_failure(400, "BadRequest", "the body is no JSON"));
  const json::Cursor body(e->request().body);
  const auto role = cluster::parse_role(body["role"].str());
  const int64_t ttl = body["ttlSeconds"].integer(0), uses = body["uses"].integer(0);
  if (!role || ttl < 0 || uses < 0)
    return e->respond(
        local_failure(400, "BadRequest", "role is server or agent; ttlSeconds and uses are not negative"));
  const auto authority = pki::parse_certificate(device_.identity.ca_pem);
  if (!authority) return e->respond(refusal_of(authority.error()));
  const cluster::Token token = cluster::make_token(authority->spki_sha256(), device_.random);
  cluster::Grant grant;
  grant.role = *role;
  if (ttl > 0) grant.expires_at = device_.clock.wall().seconds + ttl;
  if (uses > 0) grant.uses_left = uses;
  grant.description = body["description"].str();
  client::Call call;
  call.method = "POST";
  call.path = secrets_path();
  call.body = cluster::token_secret(token, grant).ref().dump();
  const std::string url = strf("https://%s:%lld", device_address(device_.config).c_str(),
                               static_cast<long long>(device_.config.listen.api_port));
  api_call(std::move(e), std::move(call),
           [token, grant, url](const http::ExchangePtr& exchange, const client::Reply& reply) {
             if (!reply.ok())
               return exchange->respond(local_failure(reply.status, "InternalError",
                                                      "the token cannot be kept: " + reply.error().message));
             json::Writer w;
             w.begin_object().field("token", token.text()).field("url", url);
             w.field("role", std::string(cluster::role_name(grant.role)));
             if (grant.expires_at != 0) w.field("expires", rfc3339({grant.expires_at, 0}));
             w.end_object();
             exchange->respond(local_json(w.take()));
           });
}

void ClusterService::list_tokens(http::ExchangePtr e) {
  client::Call call;
  call.path = secrets_path();
  call.query = "fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken";
  api_call(std::move(e), std::move(call), [](const http::ExchangePtr& exchange, const client::Reply& reply) {
    if (!reply.ok())
      return exchange->respond(local_failure(reply.status, "InternalError", reply.error().message));
    auto list = json::parse(reply.body);
    if (!list) return exchange->respond(refusal_of(list.error()));
    json::Writer w;
    w.begin_object().key("items").begin_array();
    for (json::Ref secret : list->ref()["items"]) {
      const auto grant = cluster::read_grant(secret);
      if (!grant) continue;  // one of upstream's, which lets nobody in here
      const std::string name(secret["metadata"]["name"].str());
      w.begin_object().field("id", name.substr(name.rfind('-') + 1));
      w.field("role", std::string(cluster::role_name(grant->role)));
      if (grant->expires_at != 0) w.field("expires", rfc3339({grant->expires_at, 0}));
      if (grant->uses_left) w.field("usesLeft", *grant->uses_left);
      w.field("description", grant->description).end_object();
    }
    w.end_array().end_object();
    exchange->respond(local_json(w.take()));
  });
}

// ---- this device joins another cluster ----

void ClusterService::join(http::ExchangePtr e) {
  if (!JoinCommand::check(e)) return;
  if (!device_.cluster_id.empty() || !device_.members->all().empty()) {
    return e->respond(
        local_failure(409, "Conflict",
                      "this device is one of a cluster already: remove it there with limpet node "
                      "remove, then limpet reset here"));
  }
  if (json::Cursor(e->request().body)["discard"].boolean()) return join_.run(std::move(e));
  count_own_objects(device_.store->durable(), alive_, [this, e](Result<ObjectCounts> held) {
    if (!held) return e->respond(refusal_of(held.error()));
    if (held->empty()) return join_.run(e);
    e->respond(local_failure(409, "Conflict",
                             "this device's own cluster holds " + in_words(*held) +
                                 ", which joining would give up: --discard says that they may go"));
  });
}

}  // namespace limpet::daemon

#include "daemon/cluster_service.h"

#include "api/cluster_access.h"
#include "api/server.h"
#include "base/log.h"
#include "base/sha256.h"
#include "client/in_process.h"
#include "cluster/token.h"
#include "daemon/cluster_status.h"
#include "daemon/denied.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/member_records.h"
#include "daemon/names.h"
#include "peer/address.h"

namespace limpet::daemon {
namespace {

constexpr std::string_view base = "/limpet/v1/";

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

// A request on its way to the leader, with a small answer.
struct ClusterService::Relay : std::enable_shared_from_this<Relay> {
  http::ExchangePtr exchange;
  std::function<void()> otherwise;
  std::unique_ptr<api::Forwarding> forwarding;
  http::Response answer;

  void ended(const Result<>& end) {
    const auto self = shared_from_this();
    forwarding.reset();
    if (end) return exchange->respond(std::move(answer));
    if (end.error().code == Errc::unavailable) return otherwise();
    exchange->respond(
        local_failure(504, "Timeout", "the leader of the cluster did not answer: " + end.error().message));
  }
};

ClusterService::ClusterService(Device& device, loop::Task joined)
    : device_(device), keys_(device), keeper_(device), joins_(device, keys_, std::move(joined)) {
  client_ = std::make_unique<client::InProcessClient>(device_.loop, device_.api->handler(), "limpet-admin",
                                                      std::vector<std::string>{"system:masters"});
}

ClusterService::~ClusterService() = default;

http::Handler ClusterService::local() {
  return [this](http::ExchangePtr e) { serve_local(std::move(e)); };
}

http::Handler ClusterService::public_over(http::Handler api) {
  return [this, api = std::move(api)](http::ExchangePtr e) {
    if (!e->request().path.starts_with(base)) return api(std::move(e));
    if (below(e->request()) != "join") return e->respond(unknown(e->request()));
    serve_leader(std::move(e));
  };
}

http::Handler ClusterService::servers_over(http::Handler api) {
  return [this, api = std::move(api)](http::ExchangePtr e) {
    if (!e->request().path.starts_with(base)) return api(std::move(e));
    const std::string_view path = below(e->request());
    if (path == "cluster/trust") return keeper_.take_report(std::move(e));
    if (path != "join" && path != "cluster" && path != "cluster/authority" && !is(path, "cluster/nodes"))
      return e->respond(unknown(e->request()));
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
    return relay(e, [this, e] { status(e); });
  }
  if (path != "join" && path != "cluster/authority" && !is(path, "cluster/nodes"))
    return e->respond(unknown(e->request()));
  if (!leads) {
    return relay(e, [e] {
      e->respond(local_failure(503, "ServiceUnavailable",
                               "the cluster has no leader at the moment, or it is not in reach: try again"));
    });
  }
  if (path == "join") return joins_.serve(std::move(e));
  if (path == "cluster/authority") return keeper_.authority(std::move(e));
  nodes(std::move(e), std::string_view(path).substr(std::string_view("cluster/nodes").size()));
}

void ClusterService::relay(http::ExchangePtr exchange, std::function<void()> otherwise) {
  const http::Request& from = exchange->request();
  if (from.peer.kind == http::Peer::Kind::forwarded || !device_.cluster->leader_known() ||
      device_.cluster->leading())
    return otherwise();
  auto r = std::make_shared<Relay>();
  r->exchange = exchange;
  r->otherwise = std::move(otherwise);
  http::Request request;
  request.method = from.method;
  request.target = from.target;
  request.body = from.body;
  for (const char* header : {"Authorization", "Content-Type"}) {
    if (from.headers.has(header)) request.headers.add(header, std::string(from.headers.get(header)));
  }
  r->forwarding = device_.cluster->forward(
      std::move(request), {.on_head =
                               [r](int status, const http::Headers& headers) {
                                 r->answer.status = status;
                                 r->answer.headers.set("Content-Type",
                                                       std::string(headers.get("Content-Type")));
                               },
                           .on_body = [r](std::string_view bytes) { r->answer.body += bytes; },
                           .on_end = [r](Result<> end) { r->ended(end); }});
}

void ClusterService::status(http::ExchangePtr e) { e->respond(local_json(cluster_status(device_))); }

// ---- devices that leave ----

void ClusterService::nodes(http::ExchangePtr e, std::string_view rest) {
  if (!rest.empty()) rest.remove_prefix(1);
  constexpr std::string_view revoke = "/revoke";
  const std::string& method = e->request().method;
  if (method == "DELETE" && !rest.empty()) return leave(std::move(e), std::string(rest), false);
  if (method == "POST" && rest.ends_with(revoke))
    return leave(std::move(e), std::string(rest.substr(0, rest.size() - revoke.size())), true);
  e->respond(unknown(e->request()));
}

void ClusterService::leave(http::ExchangePtr e, const std::string& name, bool revoke) {
  if (name == device_.node_name) {
    // A leader that took itself out could not tell anybody that it is done.
    for (const raft::PeerStatus& p : device_.store->consensus().status().peers) {
      if (!p.active || !device_.store->consensus().transfer(p.id)) continue;
      return e->respond(
          local_failure(503, "ServiceUnavailable",
                        name + " leads the cluster and hands over to another server: try again"));
    }
    return e->respond(local_failure(409, "Conflict", name + " leads the cluster, and no other server could"));
  }
  const auto here = std::weak_ptr<char>(alive_);
  device_.store->durable().get(
      cluster::device_key(name), [this, here, e, name, revoke](Result<std::optional<store::Item>> found) {
        if (here.expired()) return;
        if (!found) return e->respond(refusal_of(found.error()));
        if (!*found)
          return e->respond(local_failure(404, "NotFound", "no device " + name + " joined this cluster"));
        auto device = cluster::decode_device(*(*found)->value);
        if (!device) return e->respond(refusal_of(device.error()));
        auto keys = keeper_.on_leave(*device, revoke);
        if (!keys) return e->respond(refusal_of(keys.error()));
        store::Txn txn;
        txn.term = device_.leadership->term();
        txn.ops = std::move(*keys);
        device->state = revoke ? cluster::DeviceState::revoked : cluster::DeviceState::removed;
        txn.ops.push_back(
            {store::Op::Type::put, cluster::device_key(name), encode(*device), (*found)->mod_revision});
        txn.ops.push_back({store::Op::Type::put, denied_key(sha256_hex(device->spki)),
                           cluster::denied_record(name, device_.clock.wall()), std::nullopt});
        if (device->member != 0)
          txn.ops.push_back({store::Op::Type::remove, cluster::member_key(device->member), "", std::nullopt});
        device_.store->durable().commit(std::move(txn),
                                        [this, here, e, name, revoke](Result<store::Committed> done) {
                                          if (here.expired()) return;
                                          if (!done) return e->respond(refusal_of(done.error()));
                                          left(e, name, revoke);
                                        });
      });
}

// It is no member any more; what Kubernetes knows of it goes too, its pods with it.
void ClusterService::left(const http::ExchangePtr& exchange, const std::string& name, bool revoke) {
  log::notice(revoke ? "a device was revoked" : "a device was removed", {{"device", name}});
  client::Call call;
  call.method = "DELETE";
  call.path = "/api/v1/nodes/" + http::percent_encode(name);
  api_call(exchange, std::move(call), [name, revoke](const http::ExchangePtr& e, const client::Reply& reply) {
    if (!reply.ok() && reply.status != 404)
      return e->respond(local_failure(reply.status, "InternalError", reply.error().message));
    e->respond(local_json(message(name + (revoke ? " is revoked: its certificate is refused from now on"
                                                 : " has left the cluster; its name is free"))));
  });
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

std::string ClusterService::keeps_from_joining(bool discard) const {
  if (!device_.cluster_id.empty() || !device_.members->all().empty()) {
    return "this device is one of a cluster already: remove it there with limpet node remove, then limpet "
           "reset here";
  }
  if (discard) return "";
  const store::Space& space = device_.store->durable();
  for (const char* kind :
       {"pods", "deployments.apps", "replicasets.apps", "secrets", "persistentvolumeclaims"}) {
    if (const int64_t n = space.count(std::string(kind) + "/"); n > 0) {
      return strf(
          "this device's own cluster holds %lld %s, which joining would give up: --discard says that they "
          "may go",
          static_cast<long long>(n), kind);
    }
  }
  return "";
}

void ClusterService::join(http::ExchangePtr e) {
  if (e->request().method != "POST" || !json::validate(e->request().body))
    return e->respond(local_failure(400, "BadRequest", "joining is a POST of JSON"));
  const json::Cursor body(e->request().body);
  if (const std::string why = keeps_from_joining(body["discard"].boolean()); !why.empty())
    return e->respond(local_failure(409, "Conflict", why));
  if (joiner_) return e->respond(local_failure(409, "Conflict", "this device is joining already"));
  JoinOptions o;
  o.data_dir = device_.config.data_dir;
  o.node_name = device_.node_name;
  o.addresses = {
      peer::Address{device_address(device_.config), static_cast<uint16_t>(device_.config.listen.peers_port)}
          .text()};
  o.api_port = static_cast<int>(device_.config.listen.api_port);
  const std::string role = body["role"].str(device_.config.role);
  o.order = {body["url"].str(), body["token"].str(), (role.empty() ? device_.config.role : role) == "agent"};
  const std::string url = o.order.url;
  joiner_ = Joiner::start(device_.loop, device_.clock, std::move(o), [this, e, url](Result<Place> place) {
    const auto ended = std::move(joiner_);
    if (!place) return e->respond(refusal_of(place.error()));
    e->respond(local_json(message(strf("%s lets this device in; it becomes %s of that cluster now",
                                       url.c_str(), place->agent ? "an agent" : "a server"))));
    device_.restart("it joins a cluster");
  });
}

}  // namespace limpet::daemon

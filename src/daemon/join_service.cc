#include "daemon/join_service.h"

#include "api/cluster_access.h"
#include "api/object.h"
#include "base/log.h"
#include "base/sha256.h"
#include "daemon/denied.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/member_records.h"
#include "daemon/names.h"
#include "peer/address.h"
#include "schema/types.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr std::string_view bearer = "Bearer ";

struct Refused {
  Errc code;
  int status;
  const char* reason;
};
constexpr Refused refusals[] = {
    {Errc::invalid_argument, 400, "BadRequest"},
    {Errc::unsupported, 400, "BadRequest"},
    {Errc::too_large, 413, "RequestEntityTooLarge"},
    {Errc::unauthenticated, 401, "Unauthorized"},
    {Errc::expired, 401, "Unauthorized"},
    {Errc::exhausted, 401, "Unauthorized"},
    {Errc::permission_denied, 403, "Forbidden"},
    {Errc::already_exists, 409, "AlreadyExists"},
    {Errc::conflict, 409, "Conflict"},
    {Errc::unavailable, 503, "ServiceUnavailable"},
    {Errc::timeout, 504, "Timeout"},
};

store::Op put(std::string key, std::string value, std::optional<store::Revision> expect) {
  return {store::Op::Type::put, std::move(key), std::move(value), expect};
}

}  // namespace

http::Response refusal_of(const Error& error) {
  for (const Refused& r : refusals) {
    if (r.code == error.code) return local_failure(r.status, r.reason, error.message);
  }
  return local_failure(500, "InternalError", error.message);
}

struct JoinService::Attempt {
  http::ExchangePtr exchange;
  cluster::JoinRequest request;
  cluster::Token token;
  std::optional<store::Item> secret, holder;
  cluster::Admission admission;
  int tries = 0;

  void fail(const Error& error) const {
    log::notice("a device was not let in", {{"device", request.name},
                                            {"from", exchange->request().peer.address},
                                            {"token", token.id},
                                            {"why", error.message}});
    exchange->respond(refusal_of(error));
  }
  json::Value secret_tree() const {
    if (!secret) return {};
    auto tree = api::parse_stored(*secret->value, secret->mod_revision);
    return tree ? std::move(*tree) : json::Value();
  }
};

JoinService::JoinService(Device& device, KeyRing& keys, loop::Task joined)
    : device_(device), keys_(keys), joined_(std::move(joined)) {}
JoinService::~JoinService() = default;

void JoinService::serve(http::ExchangePtr exchange) {
  const http::Request& r = exchange->request();
  auto attempt = std::make_shared<Attempt>();
  attempt->exchange = exchange;
  if (r.method != "POST")
    return exchange->respond(local_failure(405, "MethodNotAllowed", "joining is a POST"));
  auto request = cluster::decode_join_request(r.body);
  if (!request) return attempt->fail(request.error());
  attempt->request = std::move(*request);
  const std::string_view authorization = r.headers.get("Authorization");
  if (!authorization.starts_with(bearer))
    return attempt->fail({Errc::unauthenticated, "a token is wanted: make one with limpet token create", 0});
  auto token = cluster::parse_token(authorization.substr(bearer.size()));
  if (!token) return attempt->fail(token.error());
  attempt->token = std::move(*token);
  look_up(attempt);
}

void JoinService::look_up(const AttemptPtr& attempt) {
  const std::string secret = "secrets/" + std::string(cluster::token_namespace) + "/" +
                             cluster::token_secret_name(attempt->token.id);
  const auto here = std::weak_ptr<char>(alive_);
  device_.store->durable().get(secret, [this, here, attempt](Result<std::optional<store::Item>> found) {
    if (here.expired()) return;
    if (!found) return attempt->fail(found.error());
    attempt->secret = std::move(*found);
    device_.store->durable().get(cluster::device_key(attempt->request.name),
                                 [this, here, attempt](Result<std::optional<store::Item>> held) {
                                   if (here.expired()) return;
                                   if (!held) return attempt->fail(held.error());
                                   attempt->holder = std::move(*held);
                                   keys_.prepare([this, here, attempt](Result<KeyRing::Prepared> keys) {
                                     if (here.expired()) return;
                                     if (!keys) return attempt->fail(keys.error());
                                     decide(attempt, *keys);
                                   });
                                 });
  });
}

// This server's own record is written with the first that it lets in.
cluster::Device JoinService::own_record() const {
  cluster::Device own;
  own.name = device_.node_name;
  own.role = cluster::Role::server;
  own.member = device_.store->consensus().self();
  own.addresses = {
      peer::Address{device_address(device_.config), static_cast<uint16_t>(device_.config.listen.peers_port)}
          .text()};
  own.api_port = static_cast<int>(device_.config.listen.api_port);
  own.joined_at = device_.clock.wall().seconds;
  own.version = LIMPET_VERSION;
  if (const auto certificate = pki::parse_certificate(device_.identity.peer_pem))
    own.spki = certificate->spki;
  return own;
}

Result<cluster::Cluster> JoinService::cluster(const cluster::DataKey& key) const {
  cluster::Cluster c;
  c.id = device_.store->consensus().cluster();
  c.version = LIMPET_VERSION;
  c.ca_pem = device_.identity.ca_pem;
  c.keys = {device_.identity.ca_key_pem, device_.identity.service_account_key_pem, key};
  for (const auto& [id, record] : device_.members->all()) {
    if (record.device.state == cluster::DeviceState::active) c.servers.push_back(record.device);
  }
  if (c.servers.empty()) c.servers.push_back(own_record());
  return c;
}

void JoinService::decide(const AttemptPtr& attempt, const KeyRing::Prepared& keys) {
  auto known = cluster(keys.data_key);
  if (!known) return attempt->fail(known.error());
  auto key = pki::PrivateKey::from_pem(device_.identity.ca_key_pem, device_.random);
  if (!key) {
    return attempt->fail(
        {Errc::unavailable, "this server cannot sign certificates: " + key.error().message, 0});
  }
  const pki::Authority authority{device_.identity.ca_pem, std::move(*key)};
  known->authority = &authority;
  std::optional<cluster::Device> holder;
  if (attempt->holder) {
    auto device = cluster::decode_device(*attempt->holder->value);
    if (!device) return attempt->fail(device.error());
    holder = std::move(*device);
  }
  const json::Value secret = attempt->secret_tree();
  auto admission = cluster::admit(attempt->request, attempt->token, secret, holder, *known,
                                  {device_.clock.wall(), SystemClock::machine()}, device_.random);
  if (!admission) return attempt->fail(admission.error());
  attempt->admission = std::move(*admission);
  auto txn = transaction(*attempt, keys);
  if (!txn) return attempt->fail(txn.error());
  commit(attempt, std::move(*txn));
}

Result<store::Txn> JoinService::transaction(const Attempt& attempt, const KeyRing::Prepared& keys) const {
  const cluster::Device& device = attempt.admission.device;
  store::Txn txn;
  txn.term = device_.leadership->term();
  if (txn.term == 0)
    return fail(Errc::unavailable, "this server does not lead the cluster any more; try again");
  txn.ops = keys.ops;
  if (device_.members->all().empty()) {
    const cluster::Device own = own_record();
    txn.ops.push_back(put(cluster::member_key(own.member), encode(own), 0));
    txn.ops.push_back(put(cluster::device_key(own.name), encode(own), std::nullopt));
  }
  txn.ops.push_back(put(cluster::device_key(device.name), encode(device),
                        attempt.holder ? attempt.holder->mod_revision : 0));
  txn.ops.push_back({store::Op::Type::remove, denied_key(sha256_hex(device.spki)), "", std::nullopt});
  if (device.role == cluster::Role::server) {
    txn.ops.push_back(put(cluster::member_key(device.member), encode(device), std::nullopt));
    TRY(std::string wrap, cluster::wrap_data_key(keys.data_key, device.name, device.spki, device_.random));
    txn.ops.push_back(
        put(cluster::data_key_path(keys.data_key.generation, device.name), std::move(wrap), std::nullopt));
    if (keys.unchanged) txn.ops.push_back(*keys.unchanged);
  }
  if (const raft::MemberId old = attempt.admission.replaces; old != 0 && old != device.member)
    txn.ops.push_back({store::Op::Type::remove, cluster::member_key(old), "", std::nullopt});
  if (!attempt.admission.takes_use) return txn;
  json::Value secret = attempt.secret_tree();
  if (cluster::take_use(secret)) {
    const schema::Resource* secrets = schema::find_resource("", "v1", "secrets");
    txn.ops.push_back(
        put(attempt.secret->key, api::canonical(*secrets, secret), attempt.secret->mod_revision));
  }
  return txn;
}

void JoinService::commit(const AttemptPtr& attempt, store::Txn txn) {
  constexpr int most_tries = 5;
  device_.store->durable().commit(
      std::move(txn), [this, here = std::weak_ptr<char>(alive_), attempt](Result<store::Committed> done) {
        if (here.expired()) return;
        // Somebody else joined by the same token, or in the same moment: what was decided on is over.
        if (!done && done.error().code == Errc::conflict && ++attempt->tries < most_tries)
          return look_up(attempt);
        if (!done) return attempt->fail(done.error());
        const cluster::Device& device = attempt->admission.device;
        log::notice("a device joined the cluster", {{"device", device.name},
                                                    {"role", cluster::role_name(device.role)},
                                                    {"from", attempt->exchange->request().peer.address},
                                                    {"token", attempt->token.id}});
        attempt->exchange->respond(local_json(encode(attempt->admission.answer)));
        if (device.role == cluster::Role::server) joined_();
      });
}

}  // namespace limpet::daemon

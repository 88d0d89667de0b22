#include "daemon/join_service.h"

#include <algorithm>

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

// Of the store, of other servers, of this device.
constexpr Refused troubles[] = {
    {Errc::invalid_argument, 400, "BadRequest"},     {Errc::unsupported, 400, "BadRequest"},
    {Errc::unauthenticated, 401, "Unauthorized"},    {Errc::permission_denied, 403, "Forbidden"},
    {Errc::already_exists, 409, "AlreadyExists"},    {Errc::conflict, 409, "Conflict"},
    {Errc::too_large, 413, "RequestEntityTooLarge"}, {Errc::unavailable, 503, "ServiceUnavailable"},
    {Errc::expired, 503, "ServiceUnavailable"},      {Errc::timeout, 504, "Timeout"},
    {Errc::exhausted, 507, "InsufficientStorage"},
};

// Of cluster/token.h and cluster/join.h about the one who asks: these codes mean something else there, and no
// waiting helps.
constexpr Refused denials[] = {
    {Errc::expired, 401, "Unauthorized"},
    {Errc::exhausted, 401, "Unauthorized"},
    {Errc::corrupt, 403, "Forbidden"},
};

template <size_t N>
const Refused* row_of(const Refused (&table)[N], Errc code) {
  const Refused* found = std::find_if(table, table + N, [code](const Refused& r) { return r.code == code; });
  return found == table + N ? nullptr : found;
}

http::Response denial_of(const Error& error) {
  const Refused* r = row_of(denials, error.code);
  return r ? local_failure(r->status, r->reason, error.message) : refusal_of(error);
}

// A server that hands the request on says where it came from.
std::string client_of(const http::Request& request) {
  const std::string_view told = request.headers.get(client_header);
  const bool believed = request.peer.kind == http::Peer::Kind::forwarded && !peer::host_of(told).empty();
  return believed ? std::string(told) : request.peer.address;
}

store::Op put(std::string key, std::string value, std::optional<store::Revision> expect) {
  return {store::Op::Type::put, std::move(key), std::move(value), expect};
}

}  // namespace

http::Response refusal_of(const Error& error) {
  const Refused* r = row_of(troubles, error.code);
  if (!r) return local_failure(500, "InternalError", error.message);
  http::Response response = local_failure(r->status, r->reason, error.message);
  if (r->status == 503) response.headers.set("Retry-After", "1");
  return response;
}

struct JoinService::Attempt {
  http::ExchangePtr exchange;
  std::string from;
  bool gone = false;  // the client is: it asks again as another member, which this must not undo
  cluster::JoinRequest request;
  cluster::Token token;
  std::string spki;
  std::optional<store::Item> secret, holder, denied;
  cluster::Admission admission;
  int tries = 0;

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
  attempt->from = client_of(r);
  if (r.method != "POST")
    return exchange->respond(local_failure(405, "MethodNotAllowed", "joining is a POST"));
  auto request = cluster::decode_join_request(r.body);
  if (!request) return deny(*attempt, request.error());
  attempt->request = std::move(*request);
  const std::string_view authorization = r.headers.get("Authorization");
  if (!authorization.starts_with(bearer))
    return deny(*attempt, {Errc::unauthenticated, "a token is wanted: make one with limpet token create", 0});
  auto token = cluster::parse_token(authorization.substr(bearer.size()));
  if (!token) return deny(*attempt, token.error());
  attempt->token = std::move(*token);
  exchange->on_gone([weak = std::weak_ptr<Attempt>(attempt)] {
    if (const auto a = weak.lock()) a->gone = true;
  });
  look_up(attempt);
}

// Anybody on the network can be refused, as often as he likes.
void JoinService::note(const Attempt& attempt, const Error& error) {
  const std::string host = peer::host_of(attempt.from);
  const auto left_out = log_.admit(host.empty() ? attempt.from : host, device_.loop.now_ms());
  if (!left_out) return;
  log::notice("a device was not let in", {{"device", attempt.request.name},
                                          {"from", attempt.from},
                                          {"token", attempt.token.id},
                                          {"why", error.message},
                                          {"more", static_cast<int64_t>(*left_out)}});
}

void JoinService::deny(const Attempt& attempt, const Error& error) {
  note(attempt, error);
  attempt.exchange->respond(denial_of(error));
}

void JoinService::fail(const Attempt& attempt, const Error& error) {
  note(attempt, error);
  attempt.exchange->respond(refusal_of(error));
}

void JoinService::read(const AttemptPtr& attempt, const std::string& key, Found found) {
  device_.store->durable().get(key, [this, here = std::weak_ptr<char>(alive_), attempt,
                                     found = std::move(found)](Result<std::optional<store::Item>> item) {
    if (here.expired() || attempt->gone) return;
    if (!item) return fail(*attempt, item.error());
    found(std::move(*item));
  });
}

// What costs something is done for those who have a token: a signature is verified, keys are made.
void JoinService::look_up(const AttemptPtr& attempt) {
  const std::string secret = "secrets/" + std::string(cluster::token_namespace) + "/" +
                             cluster::token_secret_name(attempt->token.id);
  read(attempt, secret, [this, attempt](std::optional<store::Item> found) {
    attempt->secret = std::move(found);
    const json::Value tree = attempt->secret_tree();
    const auto good = cluster::check_bearer(attempt->request, attempt->token, tree, device_.identity.ca_pem,
                                            device_.clock.wall());
    if (!good) return deny(*attempt, good.error());
    auto spki = cluster::requested_key(attempt->request.csr_pem);
    if (!spki) return deny(*attempt, spki.error());
    attempt->spki = std::move(*spki);
    look_up_device(attempt);
  });
}

void JoinService::look_up_device(const AttemptPtr& attempt) {
  read(attempt, cluster::device_key(attempt->request.name),
       [this, attempt](std::optional<store::Item> holder) {
         attempt->holder = std::move(holder);
         read(attempt, denied_key(sha256_hex(attempt->spki)),
              [this, attempt](std::optional<store::Item> denied) {
                attempt->denied = std::move(denied);
                keys_.prepare([this, here = std::weak_ptr<char>(alive_), attempt](auto keys) {
                  if (here.expired() || attempt->gone) return;
                  if (!keys) return fail(*attempt, keys.error());
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
  own.addresses = peers_addresses(device_.config);
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
  c.self = device_.node_name;
  c.domain = device_.config.network.cluster_domain;
  c.version = LIMPET_VERSION;
  c.ca_pem = device_.identity.ca_pem;
  c.keys = {device_.identity.ca_key_pem, device_.identity.service_account_key_pem, key};
  for (const auto& [id, record] : device_.members->all()) {
    if (record.device.state == cluster::DeviceState::active) c.servers.push_back(record.device);
  }
  if (c.servers.empty()) c.servers.push_back(own_record());
  return c;
}

// What the store has of the name and the key.
Result<cluster::Known> JoinService::known(const Attempt& attempt) const {
  cluster::Known out;
  out.spki = attempt.spki;
  // Nobody joined yet, and it is not written; or it is that of before a restore.
  const bool unwritten = !attempt.holder || device_.members->all().empty();
  if (attempt.request.name == device_.node_name && unwritten) {
    out.holder = own_record();
  } else if (attempt.holder) {
    TRY(out.holder, cluster::decode_device(*attempt.holder->value));
  }
  if (attempt.denied) {
    TRY(out.denied, cluster::decode_denied(*attempt.denied->value));
  }
  // A server that leaves is denied when the group has let it go, and would be so under any name.
  for (const auto& [id, record] : device_.members->all()) {
    const cluster::Device& server = record.device;
    if (server.spki != attempt.spki || server.state == cluster::DeviceState::active) continue;
    if (server.state == cluster::DeviceState::removed)
      return limpet::fail(Errc::unavailable,
                          server.name + ", which has this key, is about to leave: try again");
    out.denied = cluster::DeniedKey{server.name, true};
  }
  return out;
}

void JoinService::decide(const AttemptPtr& attempt, const KeyRing::Prepared& keys) {
  auto ours = cluster(keys.data_key);
  if (!ours) return fail(*attempt, ours.error());
  auto key = pki::PrivateKey::from_pem(device_.identity.ca_key_pem, device_.random);
  if (!key) {
    return fail(*attempt,
                {Errc::unavailable, "this server cannot sign certificates: " + key.error().message, 0});
  }
  const pki::Authority authority{device_.identity.ca_pem, std::move(*key)};
  ours->authority = &authority;
  auto theirs = known(*attempt);
  if (!theirs) return fail(*attempt, theirs.error());
  const json::Value secret = attempt->secret_tree();
  theirs->secret = secret;
  auto admission = cluster::admit(attempt->request, attempt->token, *theirs, *ours,
                                  {device_.clock.wall(), SystemClock::machine()}, device_.random);
  if (!admission) return deny(*attempt, admission.error());
  attempt->admission = std::move(*admission);
  auto txn = transaction(*attempt, keys);
  if (!txn) return fail(*attempt, txn.error());
  commit(attempt, std::move(*txn));
}

Result<store::Txn> JoinService::transaction(const Attempt& attempt, const KeyRing::Prepared& keys) const {
  const cluster::Device& device = attempt.admission.device;
  store::Txn txn;
  txn.term = device_.leadership->term();
  if (txn.term == 0)
    return limpet::fail(Errc::unavailable, "this server does not lead the cluster any more; try again");
  txn.ops = keys.ops;
  if (device_.members->all().empty()) {
    const cluster::Device own = own_record();
    txn.ops.push_back(put(cluster::member_key(own.member), encode(own), 0));
    txn.ops.push_back(put(cluster::device_key(own.name), encode(own), std::nullopt));
  }
  txn.ops.push_back(put(cluster::device_key(device.name), encode(device),
                        attempt.holder ? attempt.holder->mod_revision : 0));
  // As it was when it was decided on: who is revoked in this moment is not let in.
  txn.ops.push_back({store::Op::Type::remove, denied_key(sha256_hex(device.spki)), "",
                     attempt.denied ? attempt.denied->mod_revision : 0});
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

void JoinService::again(const AttemptPtr& attempt) {
  constexpr int most_tries = 5;
  if (attempt->gone) return;
  if (++attempt->tries < most_tries) return look_up(attempt);
  fail(*attempt, {Errc::unavailable, "other devices join in the same moment: try again", 0});
}

void JoinService::commit(const AttemptPtr& attempt, store::Txn txn) {
  device_.store->durable().commit(
      std::move(txn), [this, here = std::weak_ptr<char>(alive_), attempt](Result<store::Committed> done) {
        if (here.expired()) return;
        // Somebody else joined by the same token, or in the same moment: what was decided on is over.
        if (!done && done.error().code == Errc::conflict) return again(attempt);
        if (!done) return fail(*attempt, done.error());
        const cluster::Device& device = attempt->admission.device;
        log::notice("a device joined the cluster", {{"device", device.name},
                                                    {"role", cluster::role_name(device.role)},
                                                    {"from", attempt->from},
                                                    {"token", attempt->token.id}});
        attempt->exchange->respond(local_json(encode(attempt->admission.answer)));
        if (device.role == cluster::Role::server) joined_();
      });
}

}  // namespace limpet::daemon

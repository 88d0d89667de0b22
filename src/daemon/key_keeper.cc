#include "daemon/key_keeper.h"

#include <algorithm>

#include "base/log.h"
#include "base/sha256.h"
#include "daemon/join_service.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/member_records.h"
#include "pki/device.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr const char* devices_prefix = "limpet/devices/";
constexpr int64_t step_ms = 2'000, idle_ms = 60'000;
// A stolen server knows the keys that sign now, and the cluster does not wait for long.
constexpr int64_t revoked_patience_s = 600;
constexpr int64_t usual_patience_s = 24 * 3600, longest_patience_s = 90 * 24 * 3600;

std::string message(const std::string& text) {
  json::Writer w;
  w.begin_object().field("message", text).end_object();
  return w.take();
}

std::string_view step_name(cluster::AuthorityStep step) {
  constexpr std::string_view names[] = {"settled", "trusting", "reissuing"};
  return names[static_cast<size_t>(step)];
}

Result<std::string> key_hash(const std::string& private_pem, Random& random) {
  TRY(const pki::PrivateKey key, pki::PrivateKey::from_pem(private_pem, random));
  return sha256_hex(key.spki());
}

void write_strings(json::Writer& w, const char* key, const auto& strings) {
  w.key(key).begin_array();
  for (const std::string& s : strings) w.string(s);
  w.end_array();
}

store::Op removal(std::string key) { return {store::Op::Type::remove, std::move(key), "", std::nullopt}; }

}  // namespace

KeyKeeper::KeyKeeper(Device& device)
    : device_(device), ring_(device), follower_(device, [this] { look(); }), timer_(device.loop, "keys") {}

KeyKeeper::~KeyKeeper() = default;

bool KeyKeeper::unsettled() const {
  const OpenedKeys* keys = follower_.opened();
  return keys && (keys->authorities.step != cluster::AuthorityStep::settled ||
                  !keys->signing.next_pem.empty() || !keys->signing.old.empty());
}

void KeyKeeper::look() {
  if (follower_.opened()) {
    for (const auto& go_on : std::exchange(when_opened_, {})) go_on();
  }
  follow_agents();
  if (!unsettled()) {
    timer_.stop();
    reports_.clear();
    return;
  }
  const OpenedKeys& keys = *follower_.opened();
  const bool under_way =
      keys.authorities.step != cluster::AuthorityStep::settled || !keys.signing.next_pem.empty();
  timer_.start(under_way ? step_ms : idle_ms, [this] { look(); });
  if (under_way) report();
  step();
}

// Who they are is of interest to the leader alone, and seldom.
void KeyKeeper::follow_agents() {
  const bool wanted = device_.leadership->term() != 0 && follower_.opened() &&
                      follower_.opened()->authorities.step != cluster::AuthorityStep::settled;
  if (wanted && !devices_) devices_.emplace(device_.loop, device_.store->durable(), devices_prefix, [] {});
  if (!wanted) devices_.reset();
}

// ---- what devices tell the leader ----

void KeyKeeper::told(cluster::TrustOf trust) {
  if (!unsettled()) return;
  const std::string name = trust.device;
  reports_[name] = {std::move(trust), {}};
}

Result<cluster::TrustReport> KeyKeeper::own_report() const {
  cluster::TrustReport out;
  out.trust.device = device_.node_name;
  TRY(const std::vector<pki::Certificate> trusted, pki::parse_bundle(device_.identity.ca_pem));
  TRY(const pki::Certificate own, pki::parse_certificate(device_.identity.peer_pem));
  for (const pki::Certificate& authority : trusted) {
    out.trust.trusted.push_back(authority.spki_sha256());
    if (pki::verify_signed_by(own, authority, {own.not_before, 0}))
      out.trust.issuer = authority.spki_sha256();
  }
  const cluster::SigningKeys& signing = follower_.opened()->signing;
  for (const std::string& pem : {signing.current_pem, signing.next_pem}) {
    if (pem.empty()) continue;
    TRY(std::string hash, key_hash(pem, device_.random));
    out.signing.insert(std::move(hash));
  }
  return out;
}

void KeyKeeper::report() {
  auto own = own_report();
  if (!own) {
    log::warning("what this server trusts cannot be told, going on", {{"error", own.error()}});
    return;
  }
  if (device_.leadership->term() != 0) {
    reports_[device_.node_name] = std::move(*own);
    return;
  }
  if (telling_ || !device_.cluster->leader_known() || device_.cluster->leading()) return;
  http::Request request;
  request.method = "POST";
  request.target = "/limpet/v1/cluster/trust";
  request.headers.add("Content-Type", "application/json");
  request.body = encode(*own);
  // What is lost is told again.
  telling_ = device_.cluster->forward(std::move(request), {.on_head = [](int, const http::Headers&) {},
                                                           .on_body = [](std::string_view) {},
                                                           .on_end = [this](Result<>) { telling_.reset(); }});
}

void KeyKeeper::take_report(http::ExchangePtr e) {
  const http::Request& r = e->request();
  auto report = cluster::decode_trust_report(r.body);
  if (!report) return e->respond(local_failure(400, "BadRequest", report.error().message));
  const auto certificate = pki::parse_certificate(r.peer.client_certificate_der);
  const auto who = certificate ? pki::device_of(*certificate) : std::unexpected(certificate.error());
  if (!who || !who->server || who->name != report->trust.device)
    return e->respond(local_failure(403, "Forbidden", "a server tells of itself alone"));
  if (unsettled()) reports_[report->trust.device] = std::move(*report);
  e->respond(local_json("{}"));
}

// ---- the leader's steps ----

std::vector<std::string> KeyKeeper::servers() const {
  std::vector<std::string> out;
  for (const auto& [id, record] : device_.members->all()) {
    if (record.device.state == cluster::DeviceState::active) out.push_back(record.device.name);
  }
  if (out.empty()) out.push_back(device_.node_name);
  return out;
}

std::vector<std::string> KeyKeeper::agents() const {
  std::vector<std::string> out;
  if (!devices_) return out;
  for (const auto& [key, item] : devices_->items()) {
    const auto device = cluster::decode_device(*item.value);
    if (device && device->role == cluster::Role::agent && device->state == cluster::DeviceState::active)
      out.push_back(device->name);
  }
  return out;
}

Result<cluster::Replacement> KeyKeeper::replacement() const {
  std::vector<cluster::TrustOf> trusts;
  std::vector<std::string> names = servers();
  for (std::string& name : agents()) names.push_back(std::move(name));
  for (const std::string& name : names) {
    const auto told = reports_.find(name);
    trusts.push_back(told == reports_.end() ? cluster::TrustOf{name, {}, ""} : told->second.trust);
  }
  const cluster::Authorities& have = follower_.opened()->authorities;
  return cluster::next_step(have, trusts, device_.clock.wall(), have.patience_s);
}

bool KeyKeeper::all_know(const cluster::SigningKeys& signing) const {
  if (signing.next_pem.empty()) return false;
  if (device_.clock.wall().seconds >= signing.since + signing.overlap_s) return true;
  const auto next = key_hash(signing.next_pem, device_.random);
  const std::vector<std::string> all = servers();
  return next && std::all_of(all.begin(), all.end(), [&](const std::string& name) {
           const auto told = reports_.find(name);
           return told != reports_.end() && told->second.signing.contains(*next);
         });
}

Result<std::vector<store::Op>> KeyKeeper::next_ops() {
  const OpenedKeys& keys = *follower_.opened();
  std::vector<store::Op> ops;
  TRY(const cluster::Replacement authority, replacement());
  if (authority.then && devices_ && devices_->known()) {
    TRY(store::Op op, sealed(cluster::authority_path, encode(*authority.then), keys.authority_revision));
    ops.push_back(std::move(op));
    log::notice("the cluster's authority is being replaced", {{"step", step_name(authority.then->step)}});
    for (const std::string& name : authority.lacking)
      log::warning("a device was waited for in vain: it has to join again", {{"device", name}});
  }
  TRY(const std::optional<cluster::SigningKeys> signing,
      cluster::next_step(keys.signing, all_know(keys.signing), device_.clock.wall(), keys.signing.overlap_s,
                         device_.random));
  if (signing) {
    TRY(store::Op op, sealed(cluster::signing_path, encode(*signing), keys.signing_revision));
    ops.push_back(std::move(op));
    log::notice("the keys of service-account tokens change", {});
  }
  return ops;
}

void KeyKeeper::step() {
  if (device_.leadership->term() == 0 || committing_) return;
  auto ops = next_ops();
  if (!ops) {
    log::error("the cluster's keys cannot be replaced, trying again", {{"error", ops.error()}});
  } else if (!ops->empty()) {
    commit(std::move(*ops), [](Result<> done) {
      if (!done) log::debug("a step of replacing keys was not done, trying again", {{"error", done.error()}});
    });
  }
}

Result<store::Op> KeyKeeper::sealed(std::string_view path, const std::string& plain,
                                    store::Revision expect) const {
  TRY(std::string bytes, cluster::seal_value(follower_.opened()->data_key, path, plain, device_.random));
  return store::Op{store::Op::Type::put, std::string(path), std::move(bytes), expect};
}

void KeyKeeper::commit(std::vector<store::Op> ops, Answer done) {
  store::Txn txn;
  txn.term = device_.leadership->term();
  txn.ops = std::move(ops);
  if (txn.term == 0) return done(fail(Errc::unavailable, "this server does not lead the cluster any more"));
  committing_ = true;
  device_.store->durable().commit(std::move(txn), [this, here = std::weak_ptr<char>(alive_),
                                                   done = std::move(done)](Result<store::Committed> r) {
    if (here.expired()) return;
    committing_ = false;
    done(r ? Result<>() : std::unexpected(r.error()));
  });
}

// ---- what is asked for ----

void KeyKeeper::renew_certificates(http::ExchangePtr e) {
  if (e->request().method != "POST")
    return e->respond(local_failure(405, "MethodNotAllowed", "renewing is a POST"));
  device_.renew_certificates([e, name = device_.node_name](Result<> done) {
    if (!done) return e->respond(refusal_of(done.error()));
    e->respond(local_json(message(name + " has a new device, serving and admin certificate")));
  });
}

void KeyKeeper::authority(http::ExchangePtr e) {
  if (e->request().method == "GET") {
    json::Writer w;
    w.begin_object();
    const OpenedKeys* keys = follower_.opened();
    w.field("step", step_name(keys ? keys->authorities.step : cluster::AuthorityStep::settled));
    if (keys) w.field("since", rfc3339({keys->authorities.since, 0}));
    const auto next = keys ? replacement() : Result<cluster::Replacement>();
    write_strings(w, "waitsFor", next ? next->lacking : std::vector<std::string>());
    w.end_object();
    return e->respond(local_json(w.take()));
  }
  int64_t patience = usual_patience_s;
  if (e->request().method != "POST" || !json::validate(e->request().body))
    return e->respond(local_failure(400, "BadRequest", "replacing the authority is a POST of JSON"));
  patience = json::Cursor(e->request().body)["patienceSeconds"].integer(patience);
  if (patience < 1 || patience > longest_patience_s)
    return e->respond(local_failure(400, "BadRequest", "a device is waited for at most 90 days"));
  begin(patience, [e](Result<> done) {
    if (!done) return e->respond(refusal_of(done.error()));
    e->respond(local_json(message(
        "the cluster's authority is being replaced, which takes some seconds when all devices are there: "
        "limpet cert status. Kubeconfigs and join tokens of before end with it")));
  });
}

// A device that nobody joined, or that was restored, has its keys in its files alone.
void KeyKeeper::put_in_store(Answer done) {
  if (follower_.opened()) return done({});
  ring_.prepare([this, done](Result<KeyRing::Prepared> keys) {
    if (!keys) return done(std::unexpected(keys.error()));
    if (keys->ops.empty())
      return done(fail(Errc::unavailable, "this server has not read the cluster's keys yet: try again"));
    commit(std::move(keys->ops), [this, done](Result<> stored) {
      if (!stored || follower_.opened()) return done(stored);
      when_opened_.push_back([done] { done({}); });
    });
  });
}

void KeyKeeper::begin(int64_t patience_s, Answer done) {
  put_in_store([this, patience_s, done](Result<> there) {
    if (!there) return done(there);
    replace(patience_s, done);
  });
}

void KeyKeeper::replace(int64_t patience_s, Answer done) {
  const OpenedKeys& keys = *follower_.opened();
  auto begun = cluster::begin_replacement(keys.authorities, {device_.clock.wall(), SystemClock::machine()},
                                          device_.random);
  if (!begun) return done(std::unexpected(begun.error()));
  begun->patience_s = patience_s;
  auto op = sealed(cluster::authority_path, encode(*begun), keys.authority_revision);
  if (!op) return done(std::unexpected(op.error()));
  commit({std::move(*op)}, std::move(done));
}

// ---- servers that leave ----

Result<std::vector<store::Op>> KeyKeeper::on_leave(const cluster::Device& device, bool revoke) const {
  std::vector<store::Op> ops;
  const OpenedKeys* keys = follower_.opened();
  if (device.member == 0) return ops;
  if (!keys) return fail(Errc::unavailable, "this server has not read the cluster's keys yet: try again");
  const std::string own_wraps = "/" + device.name;
  if (!revoke) {
    for (const std::string& key : follower_.wraps()) {
      if (key.ends_with(own_wraps)) ops.push_back(removal(key));
    }
    return ops;
  }
  const pki::Moment now{device_.clock.wall(), SystemClock::machine()};
  // What was to come is known to it as well.
  TRY(cluster::Authorities authorities, cluster::begin_again(keys->authorities, now, device_.random));
  authorities.patience_s = revoked_patience_s;
  cluster::SigningKeys signing = keys->signing;
  signing.next_pem.clear();
  TRY(signing, cluster::begin_replacement(signing, device_.random));
  signing.since = now.believed.seconds;
  signing.overlap_s = revoked_patience_s;

  std::vector<cluster::KeyHolder> staying;
  for (const auto& [id, record] : device_.members->all()) {
    if (record.device.state == cluster::DeviceState::active && record.device.name != device.name)
      staying.push_back({record.device.name, record.device.spki});
  }
  if (staying.empty()) {  // restored, and nobody joined since
    TRY(pki::Certificate own, pki::parse_certificate(device_.identity.peer_pem));
    staying.push_back({device_.node_name, std::move(own.spki)});
  }
  TRY(const store::Op authority,
      sealed(cluster::authority_path, encode(authorities), keys->authority_revision));
  TRY(const store::Op tokens, sealed(cluster::signing_path, encode(signing), keys->signing_revision));
  TRY(const cluster::DataKeyRotation rotation,
      cluster::rotate_data_key(keys->data_key, {}, staying,
                               {{authority.key, authority.value}, {tokens.key, tokens.value}},
                               device_.random));
  for (const cluster::SealedValue& value : rotation.put) {
    std::optional<store::Revision> expect;
    if (value.path == authority.key) expect = authority.expect;
    if (value.path == tokens.key) expect = tokens.expect;
    ops.push_back({store::Op::Type::put, value.path, value.bytes, expect});
  }
  for (const std::string& key : follower_.wraps()) ops.push_back(removal(key));
  return ops;
}

}  // namespace limpet::daemon

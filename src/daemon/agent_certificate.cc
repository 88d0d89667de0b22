#include "daemon/agent_certificate.h"

#include <algorithm>

#include "base/log.h"
#include "cluster/renewal.h"
#include "daemon/local_api.h"
#include "pki/device.h"

namespace limpet::daemon {
namespace {

constexpr const char* join_again =
    ": let it join again (on a server: limpet token create --role agent, here: limpet join URL TOKEN)";

std::string day(int64_t seconds) { return rfc3339({seconds, 0}); }

// The same, and the same one signs.
bool same(std::vector<std::string> a, std::vector<std::string> b) {
  if (a.empty() || b.empty() || a.front() != b.front()) return false;
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

}  // namespace

AgentCertificate::AgentCertificate(Device& device, std::function<std::string()> shut_out)
    : device_(device),
      is_shut_out_(std::move(shut_out)),
      report_ms_(device.config.cluster.profile == "metered" ? report_metered_ms : report_ms),
      timer_(device.loop, "certificate"),
      limit_(device.loop, "certificate wanted") {}

AgentCertificate::~AgentCertificate() { respond(fail(Errc::unavailable, "limpetd stops")); }

void AgentCertificate::look() {
  const auto trusted = pki::parse_bundle(device_.identity.ca_pem);
  const auto own = pki::parse_certificate(device_.identity.peer_pem);
  if (!trusted || !own) return;  // the identity's part has checked both
  standing_ = {};
  names_.clear();
  for (const pki::Certificate& authority : *trusted) {
    standing_.trusted.push_back(authority.spki_sha256());
    names_.push_back(authority.subject.common_name);
    if (!pki::verify_signed_by(*own, authority, {own->not_before, 0})) continue;
    standing_.issuer = standing_.trusted.back();
    issuer_name_ = names_.back();
  }
  not_after_ = own->not_after;
  due_ = !device_.identity.due.empty();
  if (told_ && same(*told_, standing_.trusted)) told_.reset();
  go_on();
}

void AgentCertificate::told(const std::vector<std::string>& authorities) {
  if (same(authorities, standing_.trusted)) return told_.reset();
  told_ = authorities;
  held_ = false;  // a server is in reach
  go_on();
}

// One that was renewed by a server whose clock is behind may be due when it comes.
bool AgentCertificate::renewal_is_wanted() const {
  if (!wanted_.empty()) return true;
  if (!due_) return false;
  return standing_.issuer != standing_.trusted.front() || device_.loop.now_ms() >= not_due_before_ms_;
}

bool AgentCertificate::word_is_wanted() const {
  return told_ || (standing_.trusted.size() > 1 && reported_ != standing_);
}

void AgentCertificate::go_on() {
  if (asking_ || installing_ || standing_.trusted.empty() || (held_ && wanted_.empty())) return;
  const bool certificate = renewal_is_wanted();
  if (certificate || word_is_wanted()) return ask(certificate);
  if (standing_.trusted.size() > 1) return wait(report_ms_);
  if (due_) wait(in_vain_ms);
}

void AgentCertificate::wait(int64_t ms) {
  held_ = true;
  timer_.start(ms, [this] {
    held_ = false;
    reported_.reset();
    go_on();
  });
}

Result<std::string> AgentCertificate::request(bool certificate) {
  cluster::RenewRequest request;
  request.trusted = standing_.trusted;
  if (certificate) {
    TRY(const pki::PrivateKey key, pki::PrivateKey::from_pem(device_.identity.peer_key_pem, device_.random));
    TRY(request.csr_pem,
        pki::make_request(key, pki::device_subject({device_.node_name, false}), {}, device_.random));
  }
  return encode(request);
}

void AgentCertificate::ask(bool certificate) {
  held_ = false;
  timer_.stop();
  told_.reset();
  for_certificate_ = certificate;
  for (http::ExchangePtr& e : wanted_) waiting_.push_back(std::move(e));
  wanted_.clear();
  auto body = request(certificate);
  if (!body) return failed(body.error());
  client::Call call;
  call.method = "POST";
  call.path = "/limpet/v1/renew";
  call.body = std::move(*body);
  asking_ =
      device_.client->call(std::move(call), [this](Result<client::Reply> r) { answered(std::move(r)); });
}

void AgentCertificate::answered(Result<client::Reply> reply) {
  const auto over = std::move(asking_);  // it calls this
  if (!reply) return failed(std::move(reply).error().with("no server can be reached"));
  if (auto taken = take(*reply); !taken) failed(taken.error());
}

Result<> AgentCertificate::take(const client::Reply& reply) {
  if (!reply.ok()) return std::unexpected(reply.error());
  TRY(cluster::RenewAnswer answer, cluster::decode_renew_answer(reply.body));
  TRY(const std::vector<pki::Certificate> trusted, pki::parse_bundle(answer.ca_pem));
  std::vector<std::string> hashes;
  for (const pki::Certificate& authority : trusted) hashes.push_back(authority.spki_sha256());
  if (for_certificate_ && answer.certificate_pem.empty())
    return fail(Errc::corrupt, "a certificate was asked for, and the answer holds none");
  reported_ = standing_;
  if (!for_certificate_ && hashes == standing_.trusted) {
    succeeded();
    return {};
  }
  installing_ = true;
  device_.take_issued({std::move(answer.ca_pem), std::move(answer.certificate_pem)},
                      [this, here = std::weak_ptr<char>(alive_)](const Result<>& done) {
                        if (!here.expired()) installed(done);
                      });
  return {};
}

// The identity was looked at by then.
void AgentCertificate::installed(const Result<>& done) {
  installing_ = false;
  if (!done) return failed(done.error());
  if (for_certificate_) {
    not_due_before_ms_ = device_.loop.now_ms() + in_vain_ms;
    log::notice("the device certificate was renewed", {{"ends", day(not_after_)}, {"issuer", issuer_name_}});
    if (due_) {
      log::warning(
          "the new certificate is due to be renewed as well: the clocks of this device and of the "
          "servers differ",
          {{"why", device_.identity.due}});
    }
  } else {
    std::string names;
    for (const std::string& name : names_) names += (names.empty() ? "" : ", ") + name;
    log::notice("this device trusts other authorities than before", {{"authorities", names}});
  }
  succeeded();
}

void AgentCertificate::succeeded() {
  failure_.clear();
  retry_ms_ = 0;
  if (for_certificate_) respond({});
  go_on();
}

void AgentCertificate::failed(const Error& error) {
  // Once when it begins: a device may be cut off for days.
  if (failure_.empty()) {
    log::warning(for_certificate_ ? "the device certificate is not renewed yet, trying again"
                                  : "the servers are not asked yet which authorities to trust, trying again",
                 {{"ends", day(not_after_)}, {"error", error}});
  }
  failure_ = error.message;
  respond(std::unexpected(error));
  const bool refused = error.code != Errc::unavailable && error.code != Errc::timeout;
  retry_ms_ = refused ? longest_retry_ms : std::clamp(2 * retry_ms_, first_retry_ms, longest_retry_ms);
  // Devices that were cut off together do not come back together.
  wait(retry_ms_ + static_cast<int64_t>(device_.random.u64() % static_cast<uint64_t>(retry_ms_ / 4)));
}

// ---- what people ask and are told ----

void AgentCertificate::renew(http::ExchangePtr exchange) {
  if (exchange->request().method != "POST")
    return exchange->respond(local_failure(405, "MethodNotAllowed", "renewing is a POST"));
  wanted_.push_back(std::move(exchange));
  if (!limit_.active()) {
    limit_.start(answer_within_ms, [this] { respond(fail(Errc::timeout, "no answer within 12 s")); });
  }
  go_on();
}

void AgentCertificate::respond(const Result<>& end) {
  std::vector<http::ExchangePtr> all = std::exchange(waiting_, {});
  if (!end) {
    for (http::ExchangePtr& e : wanted_) all.push_back(std::move(e));
    wanted_.clear();
  }
  if (wanted_.empty()) limit_.stop();
  if (all.empty()) return;
  http::Response answer;
  if (end) {
    json::Writer w;
    w.begin_object().field(
        "message", device_.node_name + " has a new device certificate, which ends on " + day(not_after_));
    w.end_object();
    answer = local_json(w.take());
  } else {
    const std::string why = out();
    answer = local_failure(503, "ServiceUnavailable",
                           "the certificate is not renewed: " +
                               (why.empty() ? end.error().message + ". The present one ends on " +
                                                  day(not_after_) + ", and is renewed by itself before"
                                            : why));
  }
  for (const http::ExchangePtr& e : all) e->respond(answer);
}

std::string AgentCertificate::out() const {
  const WallTime now = device_.clock.wall();
  if (now.seconds > not_after_) {
    return "this device's certificate ended on " + day(not_after_) + " (the clock says " + rfc3339(now) +
           ")" + join_again;
  }
  const std::string why = is_shut_out_();
  if (why.empty()) return "";
  return "no server lets this device in (" + why +
         "): the cluster's authority was replaced while the device was away, or these are servers of another "
         "cluster" +
         join_again;
}

std::string AgentCertificate::problem() const {
  std::string text = out();
  return text.empty() ? failure_ : text;
}

void AgentCertificate::shut_out() const { log::error("this device is out of its cluster", {{"why", out()}}); }

void AgentCertificate::status(const http::ExchangePtr& exchange) const {
  json::Writer w;
  w.begin_object().field("device", device_.node_name).key("certificate").begin_object();
  w.field("notAfter", day(not_after_));
  w.field("daysLeft", (not_after_ - device_.clock.wall().seconds) / pki::day_seconds);
  w.field("renewAt", day(device_.identity.renew_at)).field("issuer", issuer_name_).end_object();
  w.key("authorities").begin_array();
  for (const std::string& name : names_) w.string(name);
  w.end_array().field("problem", problem()).end_object();
  exchange->respond(local_json(w.take()));
}

}  // namespace limpet::daemon

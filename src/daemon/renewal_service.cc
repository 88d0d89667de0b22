#include "daemon/renewal_service.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/denied.h"
#include "daemon/join_service.h"
#include "daemon/local_api.h"
#include "pki/device.h"

namespace limpet::daemon {
namespace {

// As they are meant here: of the one who asks, and no waiting helps.
http::Response refused(const Error& error) {
  if (error.code == Errc::expired) return local_failure(401, "Unauthorized", error.message);
  return refusal_of(error);
}

Result<pki::Certificate> shown(const http::Request& request) {
  const bool handed_on = request.peer.kind == http::Peer::Kind::forwarded;
  std::string der = handed_on ? "" : request.peer.client_certificate_der;
  if (handed_on) {
    TRY(der, base64_decode(request.headers.get(shown_header)));
  }
  if (der.empty())
    return fail(Errc::unauthenticated, "an agent shows the certificate that it has: there was none");
  return pki::parse_certificate(der);
}

}  // namespace

struct RenewalService::Asking {
  http::ExchangePtr exchange;
  cluster::RenewRequest request;
  pki::Certificate certificate;
  cluster::Shown shown;
  std::optional<cluster::Device> holder;
  std::optional<cluster::DeniedKey> denied;
  bool gone = false;
};

bool RenewalService::admit(const http::ExchangePtr& exchange) const {
  const http::Request& r = exchange->request();
  if (r.method != "POST") {
    exchange->respond(local_failure(405, "MethodNotAllowed", "renewing is a POST"));
    return false;
  }
  const auto certificate = shown(r);
  const auto who = certificate ? pki::device_of(*certificate) : std::unexpected(certificate.error());
  if (!who) {
    exchange->respond(local_failure(401, "Unauthorized", who.error().message));
    return false;
  }
  if (device_.denied && device_.denied->has(*certificate)) {
    exchange->respond(local_failure(403, "Forbidden",
                                    who->name +
                                        " was removed from this cluster: let it join again with a new "
                                        "token (limpet join)"));
    return false;
  }
  return true;
}

void RenewalService::serve(http::ExchangePtr exchange) {
  if (!admit(exchange)) return;
  auto asking = std::make_shared<Asking>();
  asking->exchange = exchange;
  auto request = cluster::decode_renew_request(exchange->request().body);
  if (!request) return exchange->respond(refusal_of(request.error()));
  asking->request = std::move(*request);
  auto certificate = shown(exchange->request());
  if (!certificate) return exchange->respond(refusal_of(certificate.error()));
  asking->certificate = std::move(*certificate);
  auto who =
      cluster::check_shown(asking->certificate, cluster::trusted_pem(authorities()), device_.clock.wall());
  if (!who) return exchange->respond(refused(who.error()));
  asking->shown = std::move(*who);
  exchange->on_gone([weak = std::weak_ptr<Asking>(asking)] {
    if (const auto a = weak.lock()) a->gone = true;
  });
  look_up(asking);
}

// A server that was restored has them in its files alone until somebody joins.
cluster::Authorities RenewalService::authorities() const {
  if (const OpenedKeys* keys = keys_.opened()) return keys->authorities;
  cluster::Authorities out;
  out.current = {device_.identity.ca_pem, device_.identity.ca_key_pem};
  return out;
}

void RenewalService::look_up(const AskingPtr& asking) {
  const auto read = [this, asking](const std::string& key, std::function<Result<>(const store::Item&)> take,
                                   std::function<void()> then) {
    device_.store->durable().get(key, [here = std::weak_ptr<char>(alive_), asking, take = std::move(take),
                                       then = std::move(then)](Result<std::optional<store::Item>> item) {
      if (here.expired() || asking->gone) return;
      if (!item) return asking->exchange->respond(refusal_of(item.error()));
      const Result<> taken = *item ? take(**item) : Result<>();
      if (!taken) return asking->exchange->respond(refusal_of(taken.error()));
      then();
    });
  };
  read(
      cluster::device_key(asking->shown.name),
      [asking](const store::Item& item) -> Result<> {
        TRY(asking->holder, cluster::decode_device(*item.value));
        return {};
      },
      [this, asking, read] {
        read(
            denied_key(asking->certificate.spki_sha256()),
            [asking](const store::Item& item) -> Result<> {
              TRY(asking->denied, cluster::decode_denied(*item.value));
              return {};
            },
            [this, asking] { decide(asking); });
      });
}

void RenewalService::decide(const AskingPtr& asking) {
  const cluster::Authorities now = authorities();
  if (auto same = cluster::check_holder(asking->certificate, asking->holder, asking->denied); !same) {
    log::notice("an agent gets no certificate",
                {{"device", asking->shown.name}, {"why", same.error().message}});
    return asking->exchange->respond(refused(same.error()));
  }
  keys_.told({asking->shown.name, asking->request.trusted, asking->shown.issuer});
  cluster::RenewAnswer answer;
  answer.ca_pem = cluster::trusted_pem(now);
  if (!asking->request.csr_pem.empty()) {
    auto pem = certificate(*asking, now);
    if (!pem) {
      log::notice("an agent gets no certificate",
                  {{"device", asking->shown.name}, {"why", pem.error().message}});
      http::Response response = pem.error().code == Errc::exhausted
                                    ? local_failure(429, "TooManyRequests", pem.error().message)
                                    : refused(pem.error());
      return asking->exchange->respond(std::move(response));
    }
    answer.certificate_pem = std::move(*pem);
    log::notice("the certificate of an agent is renewed", {{"device", asking->shown.name}});
  }
  asking->exchange->respond(local_json(encode(answer)));
}

Result<std::string> RenewalService::certificate(const Asking& asking,
                                                const cluster::Authorities& authorities) {
  CHECK_OK(take_turn(asking.shown.name));
  auto key = pki::PrivateKey::from_pem(authorities.current.key_pem, device_.random);
  if (!key) return fail(Errc::unavailable, "this server cannot sign certificates: " + key.error().message);
  const pki::Authority authority{authorities.current.certificate_pem, std::move(*key)};
  return cluster::renew(*asking.holder, asking.request.csr_pem, authority,
                        {device_.clock.wall(), SystemClock::machine()}, device_.random);
}

// Signing costs milliseconds of the leader's only thread. Names are those of devices of this cluster.
Result<> RenewalService::take_turn(const std::string& name) {
  const int64_t now = device_.loop.now_ms();
  std::erase_if(turns_, [now](const auto& t) { return now - t.second.since_ms >= most_turns * turn_ms; });
  Turns& turns = turns_.try_emplace(name, Turns{most_turns, now}).first->second;
  const int64_t back = std::min((now - turns.since_ms) / turn_ms, most_turns - turns.left);
  turns.left += back;
  turns.since_ms = turns.left == most_turns ? now : turns.since_ms + back * turn_ms;
  if (turns.left == 0)
    return fail(Errc::exhausted, name + " had several certificates signed within minutes: again in a minute");
  --turns.left;
  return {};
}

}  // namespace limpet::daemon

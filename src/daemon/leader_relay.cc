#include "daemon/leader_relay.h"

#include <optional>
#include <string>
#include <utility>

#include "api/forward.h"
#include "base/bytes.h"
#include "cluster/join.h"
#include "cluster/renewal.h"
#include "daemon/join_service.h"
#include "daemon/local_api.h"
#include "daemon/renewal_service.h"

namespace limpet::daemon {

static_assert(LeaderRelay::max_body >= cluster::max_join_request &&
              LeaderRelay::max_body >= cluster::max_renew_request);

struct LeaderRelay::Relay {
  http::ExchangePtr exchange;
  std::function<void()> otherwise;
  std::unique_ptr<api::Forwarding> forwarding;
  std::optional<loop::Timer> limit;
  http::Response answer;

  void ended(const Result<>& end) {
    if (end) return exchange->respond(std::move(answer));
    if (end.error().code == Errc::unavailable) return otherwise();
    exchange->respond(
        local_failure(504, "Timeout", "the leader of the cluster did not answer: " + end.error().message));
  }
};

void LeaderRelay::hand_on(http::ExchangePtr exchange, int64_t wait_ms, std::function<void()> otherwise) {
  const http::Request& from = exchange->request();
  if (from.peer.kind == http::Peer::Kind::forwarded || !cluster_.leader_known() || cluster_.leading())
    return otherwise();
  if (from.body.size() > max_body) {
    return exchange->respond(
        local_failure(413, "RequestEntityTooLarge",
                      strf("the body of %s has more than %zu bytes", from.path.c_str(), max_body)));
  }
  const uint64_t id = next_++;
  Relay& r = *(relays_[id] = std::make_shared<Relay>());
  r.exchange = exchange;
  r.otherwise = std::move(otherwise);
  if (wait_ms > 0) {
    r.limit.emplace(loop_, "leader's answer");
    r.limit->start(wait_ms, [this, id] { ended(id, fail(Errc::unavailable, "the leader does not answer")); });
  }
  http::Request request;
  request.method = from.method;
  request.target = from.target;
  request.body = from.body;
  for (const char* header : {"Authorization", "Content-Type"}) {
    if (from.headers.has(header)) request.headers.add(header, std::string(from.headers.get(header)));
  }
  request.headers.add(client_header, from.peer.address);
  if (!from.peer.client_certificate_der.empty())
    request.headers.add(shown_header, base64_encode(from.peer.client_certificate_der));
  exchange->on_gone([this, here = std::weak_ptr<char>(alive_), id] {
    if (!here.expired()) ended(id, fail(Errc::cancelled, "the client is gone"));
  });
  http::Response& answer = r.answer;
  r.forwarding = cluster_.forward(std::move(request),
                                  {.on_head =
                                       [&answer](int code, const http::Headers& headers) {
                                         answer.status = code;
                                         answer.headers = api::end_to_end(headers);
                                       },
                                   .on_body = [&answer](std::string_view bytes) { answer.body += bytes; },
                                   .on_end = [this, id](Result<> end) { ended(id, end); }});
}

// Nothing of it comes any more; it lives until the end of this call.
void LeaderRelay::ended(uint64_t id, const Result<>& end) {
  const auto it = relays_.find(id);
  if (it == relays_.end()) return;
  const std::shared_ptr<Relay> relay = std::move(it->second);
  relays_.erase(it);
  loop_.defer([relay] {});
  relay->ended(end);
}

}  // namespace limpet::daemon

#include "api/dispatch.h"

#include <charconv>

#include "api/authorisation.h"
#include "api/background.h"
#include "api/forward.h"
#include "api/fresh.h"
#include "api/place.h"
#include "api/route.h"
#include "api/token_bound.h"

namespace limpet::api {
namespace {

using Filter = bool (*)(const CallPtr&);

constexpr const char* kNotLeading = "this server does not lead the cluster";

// ---- where it is served

void refuse(const CallPtr& call) {
  ++call->core.metrics.authentication_failures;
  call->fail(status::unauthorized());
}

// What is not here may only be still to come.
void look_again(const CallPtr& call) {
  when_newest(call, [call] {
    are_there(call->core.store.durable(), call->user.bound,
              [call](bool there) { there ? route(call) : refuse(call); });
  });
}

// Authorised; whether it proved who it is may still be open.
void serve_proved(const CallPtr& call) {
  if (call->user.bound.empty()) return route(call);
  are_there(call->core.store.durable(), call->user.bound, [call](bool there) {
    if (there) return route(call);
    // The state of a leader is the newest, or its answer is not believed (Call::unconfirmed).
    only_state(*call) || call->newest || call->term ? refuse(call) : look_again(call);
  });
}

void serve(const CallPtr& call, Filter authorisation) {
  if (!authorisation(call)) return;
  if (!call->unsure) return serve_proved(call);
  confirm_authorisation(call, serve_proved);
}

// A read that takes what is here takes the proof of its user so, too; nothing else does.
bool takes_what_is_here(const Call& call) {
  return call.info.read_only() && call.query().get("resourceVersion") == "0";
}

void serve_here(const CallPtr& call, Place place, Filter authorisation) {
  const bool proof = !call->user.bound.empty() && !takes_what_is_here(*call);
  if (place != Place::here_newest && !(call->info.is_resource && proof)) return serve(call, authorisation);
  when_newest(call, [call, authorisation] { serve(call, authorisation); });
}

// ---- at the leader

// The term in which a part of this device decided what it asks for. Absent: nullopt; hostile bytes: an error.
Outcome<std::optional<uint64_t>> decided_in(const Call& call) {
  const http::Request& r = call.request();
  const bool trusted =
      r.peer.kind == http::Peer::Kind::in_process || r.peer.kind == http::Peer::Kind::forwarded;
  if (!trusted || !r.headers.has("X-Limpet-Term") || !mutating(call.info)) return std::nullopt;
  std::string_view text = r.headers.get("X-Limpet-Term");
  uint64_t term = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), term);
  if (ec != std::errc() || end != text.data() + text.size())
    return std::unexpected(status::bad_request("X-Limpet-Term is not a number"));
  return term;
}

void serve_as_leader(const CallPtr& call, Place place, Filter authorisation) {
  settle(call->core, [call, place, authorisation](Result<> settled) {
    if (!settled) return call->fail(status::from_error(settled.error()));
    if (!call->term) call->term = call->core.term();
    call->unconfirmed = place == Place::leader;
    serve(call, authorisation);
  });
}

void serve_at_leader(const CallPtr& call, Place place, Filter authorisation) {
  if (call->core.leads()) return serve_as_leader(call, place, authorisation);
  // From server to server to server: never. Two that each take the other for the leader would go on for ever.
  if (call->request().peer.kind == http::Peer::Kind::forwarded)
    return call->fail(status::unavailable(kNotLeading, 1));
  // Nobody may do anything unnamed: that need not be asked of the leader.
  if (call->user.anonymous()) return serve(call, authorisation);
  forward(call, [place, authorisation](const CallPtr& c) { serve_as_leader(c, place, authorisation); });
}

}  // namespace

void dispatch(CallPtr call, Filter authorisation) {
  Core& core = call->core;
  if (!core.cluster) return serve(call, authorisation);
  Outcome<std::optional<uint64_t>> term = decided_in(*call);
  if (!term) return call->fail(term.error());
  if (*term) {
    call->term = **term;
    // Asked again it would be the same: no Retry-After.
    if (call->term == 0 || !core.leads_in(call->term))
      return call->fail(status::unavailable(kNotLeading + std::string(" in the term of this decision"), 0));
  }
  // Nothing to be asked of anybody: as without a cluster.
  if (core.single()) {
    if (!call->term) call->term = core.term();
    return serve(call, authorisation);
  }
  const Place place = place_of(call->info);
  if (place == Place::here || place == Place::here_newest) return serve_here(call, place, authorisation);
  serve_at_leader(call, place, authorisation);
}

}  // namespace limpet::api

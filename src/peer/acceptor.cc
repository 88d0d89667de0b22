#include "peer/acceptor.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "peer/address.h"
#include "pki/device.h"

namespace limpet::peer {
namespace {

constexpr size_t max_leaving = 16;
constexpr int64_t leave_ms = 2'000;

tls::ServerOptions server_options(const Credentials& credentials, const Timing& timing) {
  tls::ServerOptions options;
  options.certificate_pem = credentials.certificate_pem;
  options.key_pem = credentials.key_pem;
  options.client_ca_pem = credentials.ca_pem;
  options.alpn_http1 = false;
  options.urgent = true;
  options.deadline_ms = options.silence_ms = timing.longest_hello_ms();
  return options;
}

}  // namespace

Acceptor::Acceptor(Core& core, Hooks hooks) : core_(core), hooks_(std::move(hooks)) {}

Acceptor::~Acceptor() {
  for (auto& [member, lane] : lanes_) {
    if (lane.incoming) lane.incoming->close();
  }
}

Result<> Acceptor::listen(const Credentials& credentials) {
  TRY(context_, tls::ServerContext::make(core_.engine, server_options(credentials, core_.options.timing)));
  TRY(listener_, loop::Listener::tcp(core_.loop, core_.options.listen_address, core_.options.port,
                                     [this](std::unique_ptr<loop::Stream> s) { accepted(std::move(s)); }));
  return {};
}

Result<> Acceptor::replace(const Credentials& credentials) {
  return context_->replace(server_options(credentials, core_.options.timing));
}

void Acceptor::accepted(std::unique_ptr<loop::Stream> stream) {
  ++accepted_;
  if (greetings_.size() >= core_.options.limits.greeting && !make_room()) {
    return note({Reason::busy, "too many connections wait to be judged"}, "", stream->peer());
  }
  loop::set_keep_alive(*stream, core_.options.timing.keep);
  const auto at = greetings_.emplace(greetings_.end());
  *at =
      std::make_unique<Greeting>(core_, *context_, std::move(stream),
                                 [this, at](Greeting::Outcome outcome) { greeted(at, std::move(outcome)); });
}

// Those who have shown no certificate may be anybody: the oldest of them goes.
bool Acceptor::make_room() {
  const auto oldest =
      std::find_if(greetings_.begin(), greetings_.end(), [](const auto& g) { return g->unknown(); });
  if (oldest == greetings_.end()) return false;
  note({Reason::busy, "it showed no certificate and gave way to a newer connection"}, "",
       (*oldest)->address());
  greetings_.erase(oldest);
  return true;
}

void Acceptor::greeted(std::list<std::unique_ptr<Greeting>>::iterator at, Greeting::Outcome outcome) {
  greetings_.erase(at);
  if (outcome.refused) return refuse(std::move(outcome));
  Caller caller{outcome.hello.kind,
                outcome.hello.about,
                outcome.hello.stream,
                outcome.certificate.subject.in(pki::servers_group),
                outcome.address,
                std::move(outcome.certificate),
                false,
                outcome.hello.version};
  outcome.refused = core_.callbacks.judge(caller);
  if (LIMPET_FAILPOINT("peer.admit")) outcome.refused = {Reason::busy, "failpoint peer.admit"};
  const bool raft = caller.kind == Kind::raft;  // one a member: bounded by their number
  if (!outcome.refused && !raft && registry_->open.size() >= core_.options.limits.connections) {
    outcome.refused = {Reason::busy, strf("device %s has as many connections as it may (%zu)",
                                          core_.options.name.c_str(), core_.options.limits.connections)};
  }
  if (outcome.refused) return refuse(std::move(outcome));
  admit(std::move(caller), std::move(outcome));
}

void Acceptor::admit(Caller caller, Greeting::Outcome outcome) {
  outcome.stream->write(encode(Answer{outcome.hello.version, core_.about(), std::nullopt}));
  if (between_servers(caller.kind)) {
    hooks_.on_server(caller, core_.directory.learn(caller.about, host_of(caller.address)));
  }
  if (caller.kind == Kind::raft) return admit_raft(std::move(caller), std::move(outcome));
  hand_over(std::move(caller), std::move(outcome));
}

// The newest connection of a member is the one that counts: of an older one it may not know any more.
void Acceptor::admit_raft(Caller caller, Greeting::Outcome outcome) {
  Lane& lane = lanes_[caller.about.member];
  if (lane.incoming) lane.incoming->close();
  ++lane.connects;
  lane.software = caller.about.software;
  lane.counts.last_ms = core_.loop.now_ms();
  lane.incoming = std::make_shared<Incoming>(
      core_, std::move(caller), std::move(outcome.stream), lane.counts,
      [this](const std::shared_ptr<Incoming>& i, std::optional<Refusal> r) { ended(i, std::move(r)); });
  lane.incoming->start(outcome.received, paused_);
}

void Acceptor::ended(const std::shared_ptr<Incoming>& incoming, std::optional<Refusal> refused) {
  const Caller& caller = incoming->caller();
  if (refused) note(*refused, caller.about.name, caller.address);
  const auto lane = lanes_.find(caller.about.member);
  if (lane != lanes_.end() && lane->second.incoming == incoming) lane->second.incoming.reset();
}

void Acceptor::hand_over(Caller caller, Greeting::Outcome outcome) {
  const auto at = registry_->open.insert(registry_->open.end(), Open{caller, nullptr});
  auto channel = std::make_unique<Channel>(core_.loop, std::move(outcome.stream), std::move(outcome.received),
                                           [registry = registry_, at] { registry->open.erase(at); });
  at->channel = channel->handle();
  core_.callbacks.on_stream(std::move(caller), std::move(channel));
}

void Acceptor::refuse(Greeting::Outcome outcome) {
  Refusal& refusal = *outcome.refused;
  note(refusal, outcome.name, outcome.address);
  if (!outcome.stream || registry_->leaving >= max_leaving) return;
  if (refusal.reason == Reason::silent) refusal.reason = Reason::malformed;
  outcome.stream->write(encode(Answer{0, {}, std::move(refusal)}));
  ++registry_->leaving;
  auto channel = std::make_unique<Channel>(core_.loop, std::move(outcome.stream), "",
                                           [registry = registry_] { --registry->leaving; });
  loop::close_gently(core_.loop, std::move(channel), leave_ms);
}

// Once a peer and minute in the log.
void Acceptor::note(const Refusal& refusal, const std::string& who, const std::string& address) {
  if (refusal.reason != Reason::other) ++refused_[static_cast<size_t>(refusal.reason)];
  const std::string host = host_of(address);
  const auto left_out = core_.log.admit("refused " + (who.empty() ? host : who), core_.loop.now_ms());
  if (!left_out) return;
  log::warning("a peer was refused", {{"peer", who.empty() ? "unknown" : who},
                                      {"address", address},
                                      {"reason", reason_name(refusal.reason)},
                                      {"detail", refusal.text},
                                      {"more", static_cast<int64_t>(*left_out)}});
}

void Acceptor::pause_raft(bool paused) {
  paused_ = paused;
  for (auto& [member, lane] : lanes_) {
    if (lane.incoming) lane.incoming->pause(paused);
  }
}

bool Acceptor::answer(MemberId to, const std::string& message) {
  const auto lane = lanes_.find(to);
  return lane != lanes_.end() && lane->second.incoming && lane->second.incoming->answer(message);
}

void Acceptor::recheck(const Judge& judge) {
  for (auto& [member, lane] : lanes_) {
    if (!lane.incoming) continue;
    const Caller& caller = lane.incoming->caller();
    const auto refused = judge(caller);
    if (!refused) continue;
    note(*refused, caller.about.name, caller.address);
    lane.incoming->close();
    lane.incoming.reset();
  }
  for (Open& open : registry_->open) {
    const auto refused = judge(open.caller);
    if (!refused) continue;
    note(*refused, open.caller.about.name, open.caller.address);
    if (*open.channel != nullptr) {
      (*open.channel)->cut({Errc::permission_denied, "the connection was cut: " + refused->text, 0});
    }
  }
}

void Acceptor::forget_others(const Directory& directory) {
  std::erase_if(lanes_,
                [&](const auto& lane) { return !directory.knows(lane.first) && !lane.second.incoming; });
}

void Acceptor::fill(PeersStats& stats) const {
  stats.refused = refused_;
  stats.accepted = accepted_;
  stats.greeting = greetings_.size();
  for (const Open& open : registry_->open) ++stats.open[static_cast<size_t>(open.caller.kind)];
  for (const auto& [member, lane] : lanes_) {
    if (lane.incoming) ++stats.open[static_cast<size_t>(Kind::raft)];
  }
}

void Acceptor::fill(PeerStats& stats) const {
  const auto it = lanes_.find(stats.member);
  if (it == lanes_.end()) return;
  const Lane& lane = it->second;
  stats.messages_in = lane.counts.messages;
  stats.bytes_in = lane.counts.bytes;
  stats.messages_out = lane.counts.answers;
  stats.bytes_out = lane.counts.answer_bytes;
  stats.last_contact_ms = lane.counts.last_ms;
  stats.incoming = lane.incoming != nullptr;
  stats.incoming_connects = lane.connects;
  stats.software = lane.software;
}

}  // namespace limpet::peer

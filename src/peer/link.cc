#include "peer/link.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "peer/check.h"

namespace limpet::peer {
namespace {

// A member that dials us again and again (two devices with one store do) makes us dial no oftener than this,
// in shortest back-offs.
constexpr int64_t nudge_pause = 10;

}  // namespace

Link::Link(Core& core, MemberId member)
    : core_(core),
      member_(member),
      backoff_(core.options.timing.backoff_min_ms, core.options.timing.backoff_max_ms),
      retry_(core.loop, "peer.retry"),
      stall_(core.loop, "peer.stall") {
  wait(0);
}

Link::~Link() = default;

// Runs f once at the end of this turn, however often it is asked for.
template <class F>
void Link::later(bool& asked, F f) {
  if (std::exchange(asked, true)) return;
  core_.loop.defer([alive = std::weak_ptr(alive_), &asked, f] {
    if (alive.expired()) return;
    asked = false;
    f();
  });
}

void Link::wait(int64_t ms) {
  state_ = LinkState::waiting;
  stats_.next_attempt_ms = core_.loop.now_ms() + ms;
  retry_.start(ms, [this] { dial(); });
}

void Link::dial() {
  if (LIMPET_FAILPOINT("peer.dial")) return broke({Errc::io, "failpoint peer.dial", 0});
  state_ = LinkState::connecting;
  stats_.next_attempt_ms = -1;
  attempt_ = std::make_unique<Attempt>(
      core_, core_.directory.name_of(member_), core_.directory.addresses(member_),
      core_.hello(Kind::raft, member_, 0), [this](Outcome outcome) { tried(std::move(outcome)); });
}

void Link::tried(Outcome outcome) {
  stats_.address = attempt_->address();
  attempt_.reset();
  if (outcome.result) return up(std::move(*outcome.result));
  if (outcome.refused != Reason::none) {
    stats_.last_contact_ms = core_.loop.now_ms();
    if (outcome.refused != Reason::other) ++stats_.refused[static_cast<size_t>(outcome.refused)];
  }
  broke(std::move(outcome.result).error());
}

void Link::up(Greeted greeted) {
  state_ = LinkState::up;
  peer_session_ = greeted.about.session;
  stream_ = std::move(greeted.stream);
  certificate_ = std::move(greeted.certificate);
  written_ = drained_ = 0;
  ++stats_.connects;
  stats_.software = greeted.about.software;
  stats_.up_since_ms = stats_.last_contact_ms = core_.loop.now_ms();
  core_.directory.reached(member_, greeted.address);
  if (core_.log.admit("up " + greeted.about.name, core_.loop.now_ms())) {
    log::info("connected to a server", {{"device", greeted.about.name}, {"address", greeted.address}});
  }
  reader_ = FrameReader(Kind::raft);
  stream_->set_events(
      {.on_read = [this](std::string_view bytes) { arrived(bytes); },
       .on_eof = [this] { broke({Errc::unavailable, "the other side closed the connection", 0}); },
       .on_error = [this](Error error) { broke(std::move(error)); },
       .on_drain = [this] { stall_.stop(); }});
  if (!paused_) stream_->read_start();
  core_.directory.learn(greeted.about, "");
  if (!greeted.received.empty()) arrived(greeted.received);
}

void Link::pause(bool paused) {
  if (std::exchange(paused_, paused) == paused || !stream_) return;
  paused ? stream_->read_stop() : stream_->read_start();
}

// What is in the reader when the owner pauses is short, and passed on all the same.
void Link::arrived(std::string_view bytes) {
  stats_.last_contact_ms = core_.loop.now_ms();
  stats_.bytes_in += bytes.size();
  reader_.add(bytes);
  const std::weak_ptr alive(alive_);
  while (stream_) {
    const Result<std::optional<Frame>> next = reader_.next();
    if (!next) return broke(next.error());
    if (!*next) return;
    ++stats_.messages_in;
    if (LIMPET_FAILPOINT("peer.receive")) continue;
    core_.callbacks.on_raft(member_, (*next)->payload);
    if (alive.expired()) return;
  }
}

void Link::send(std::string message) {
  const size_t size = message.size() + kFrameHead;
  if (LIMPET_FAILPOINT("peer.send") || state_ != LinkState::up ||
      (queued() != 0 && queued() + size > core_.options.limits.queue_bytes)) {
    ++stats_.messages_dropped;
    return lost();
  }
  ++stats_.messages_out;
  stats_.bytes_out += size;
  std::string bytes = frame(FrameType::raft, std::move(message));
  if (out_.empty()) {
    out_ = std::move(bytes);
  } else {
    out_ += bytes;
  }
  later(flush_asked_, [this] { flush(); });
}

void Link::flush() {
  if (!stream_ || out_.empty()) return;
  written_ += out_.size();
  stream_->write(std::exchange(out_, {}));
  if (stream_->write_queue_size() == 0 || stall_.active()) return;
  drained_ = drained();
  watch_queue();
}

uint64_t Link::drained() const {
  const size_t waiting = stream_->write_queue_size();  // with what TLS adds
  return written_ > waiting ? written_ - waiting : 0;
}

// Nothing of what waits has gone out for the whole time: the other side does not read, or the way is dead.
void Link::watch_queue() {
  const int64_t limit = core_.options.timing.stall_ms;
  stall_.start(limit, [this, limit] {
    if (drained() <= drained_) {
      return broke({Errc::timeout,
                    strf("it took none of the %zu bytes that wait for %lld ms", stream_->write_queue_size(),
                         static_cast<long long>(limit)),
                    0});
    }
    drained_ = drained();
    watch_queue();
  });
}

void Link::close(Error error) {
  // Only a connection that lasted shows that all is well again.
  const int64_t lasted = stats_.up_since_ms < 0 ? 0 : core_.loop.now_ms() - stats_.up_since_ms;
  if (lasted >= core_.options.timing.backoff_max_ms) backoff_.reset();
  attempt_.reset();
  stream_.reset();
  stall_.stop();
  out_.clear();
  peer_session_ = 0;
  stats_.up_since_ms = -1;
  stats_.last_error = std::move(error.message);
  stats_.last_error_ms = core_.loop.now_ms();
  lost();
}

void Link::broke(Error error) {
  ++stats_.failures;
  close(std::move(error));
  const std::string name = core_.directory.name_of(member_);
  if (const auto left_out = core_.log.admit("down " + name, core_.loop.now_ms())) {
    log::notice("no connection to a server", {{"device", name},
                                              {"address", stats_.address},
                                              {"error", stats_.last_error},
                                              {"more", static_cast<int64_t>(*left_out)}});
  }
  wait(backoff_.next(core_.random));
}

void Link::restart(const std::string& why) {
  if (state_ != LinkState::waiting) close({Errc::cancelled, why, 0});
  backoff_.reset();
  wait(0);
}

void Link::distrust() {
  if (state_ == LinkState::up && !core_.trust.issued(certificate_))
    restart(distrusted(core_.directory.name_of(member_)).text);
}

void Link::nudge(bool changed) {
  if (state_ == LinkState::up) return;
  if (state_ == LinkState::connecting) {
    if (changed) restart("its address or our certificate changed");
    return;
  }
  const int64_t now = core_.loop.now_ms();
  const int64_t pause = nudge_pause * core_.options.timing.backoff_min_ms;
  if (!changed && nudged_ms_ >= 0 && now - nudged_ms_ < pause) return;
  nudged_ms_ = now;
  backoff_.reset();
  wait(std::min(std::max<int64_t>(stats_.next_attempt_ms - now, 0), backoff_.next(core_.random)));
}

void Link::heard(uint64_t session) {
  stats_.last_contact_ms = core_.loop.now_ms();
  if (state_ == LinkState::up && peer_session_ != session) restart("the other side was started anew");
}

// Not from inside send(): the core that sends is not ready to be told.
void Link::lost() {
  later(lost_asked_, [this] {
    if (core_.callbacks.on_unreachable) core_.callbacks.on_unreachable(member_);
  });
}

void Link::fill(PeerStats& stats) const {
  const PeerStats before = stats;
  stats = stats_;
  stats.member = member_;
  stats.name = core_.directory.name_of(member_);
  stats.state = state_;
  stats.queued = queued();
  if (attempt_) stats.address = attempt_->address();
  stats.messages_in += before.messages_in;
  stats.bytes_in += before.bytes_in;
  stats.messages_out += before.messages_out;
  stats.bytes_out += before.bytes_out;
  stats.incoming = before.incoming;
  stats.incoming_connects = before.incoming_connects;
  stats.last_contact_ms = std::max(before.last_contact_ms, stats_.last_contact_ms);
}

}  // namespace limpet::peer

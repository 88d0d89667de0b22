#include "api/forward.h"

#include <algorithm>
#include <utility>

#include "api/remote_user.h"

namespace limpet::api {
namespace {

constexpr size_t kQueueBound = 256 * 1024;
constexpr int64_t kAgainMs = 100;  // from one try to reach a leader to the next

class Forward final : public Session {
  // Before its use, since its type is deduced.
  template <class F>
  auto guarded(F f) {
    return [weak = weak_from_this(), this, f = std::move(f)](auto&&... args) mutable {
      std::shared_ptr<Session> keep = weak.lock();
      if (keep && phase_ != Phase::over) f(std::forward<decltype(args)>(args)...);
    };
  }

 public:
  Forward(CallPtr call, std::function<void(CallPtr)> lead)
      : call_(std::move(call)), lead_(std::move(lead)), timer_(call_->core.loop, "forward") {}

  void start() {
    call_->on_gone(guarded([this] { done(); }));
    call_->listen();
    deadline_ms_ = call_->core.loop.now_ms() + call_->core.options.leader_wait_ms;
    attempt();
  }

  void stop() override {
    if (phase_ == Phase::over) return;
    broken("the server is shutting down");
  }

  // What is under way to a leader of before: a watch of what was in its memory is over; an answer may still
  // come, and is waited for a little. So it is where nobody is known to lead: a server that was cut off would
  // wait for as long as TCP tries again, which after an outage is once more as long as that was.
  void leadership_changed() override {
    if (phase_ == Phase::waiting) return attempt();
    if (current()) return timer_.stop();
    if (replaced() && phase_ == Phase::answering && watch()) return broken("");
    if (!timer_.active()) timer_.start(call_->core.options.leader_wait_ms, [this] { waited(); });
  }

 private:
  enum class Phase { waiting, asked, answering, over };

  ClusterAccess& cluster() { return *call_->core.cluster; }
  bool watch() const { return call_->info.verb == "watch"; }
  // By another one since the request was sent.
  bool replaced() { return cluster().term() != term_; }
  bool current() { return !replaced() && cluster().leader_known(); }

  void attempt() {
    timer_.stop();
    if (cluster().leading()) {
      CallPtr call = call_;
      auto lead = std::move(lead_);
      done();
      return lead(std::move(call));
    }
    if (!cluster().leader_known()) return wait("no server leads the cluster now");
    phase_ = Phase::asked;
    term_ = cluster().term();
    ForwardEvents events;
    events.on_head = guarded([this](int code, const http::Headers& h) { head(code, h); });
    events.on_body = guarded([this](std::string_view bytes) { body(bytes); });
    events.on_end = guarded([this](Result<> end) { ended(std::move(end)); });
    forwarding_ = cluster().forward(forwarded_request(*call_), std::move(events));
  }

  void waited() {
    if (replaced()) return broken("another server leads now, and the one that was asked does not answer");
    // One that has begun to answer was heard.
    if (phase_ == Phase::asked)
      broken("no server is known to lead now, and the one that was asked does not answer");
  }

  void wait(const std::string& why) {
    phase_ = Phase::waiting;
    forwarding_.reset();
    int64_t left = deadline_ms_ - call_->core.loop.now_ms();
    if (left <= 0) return fail(status::unavailable(why, 1));
    timer_.start(std::min(left, kAgainMs), [this] { attempt(); });
  }

  void head(int code, const http::Headers& from_leader) {
    phase_ = Phase::answering;
    if (!call_->relay(code, end_to_end(from_leader))) return done();
    call_->exchange().on_drain(guarded([this] {
      if (std::exchange(paused_, false) && forwarding_) forwarding_->pause(false);
    }));
  }

  void body(std::string_view bytes) {
    if (bytes.empty()) return;
    whole_line_ = bytes.back() == '\n';
    call_->exchange().write(bytes);
    if (phase_ != Phase::answering || paused_ || call_->exchange().write_queue_size() <= kQueueBound) return;
    paused_ = true;
    forwarding_->pause(true);
  }

  void ended(Result<> end) {
    if (!end) {
      bool certain = phase_ == Phase::asked && end.error().code == Errc::unavailable;
      if (certain) return wait("the leader cannot be reached: " + end.error().message);
      return broken(end.error().message);
    }
    if (phase_ != Phase::answering) return broken("the leader gave no answer");
    call_->exchange().end();
    done();
  }

  // No more will come of it.
  void broken(const std::string& why) {
    if (phase_ == Phase::answering) {
      // An event that was cut is no end in good order.
      watch() && whole_line_ ? call_->exchange().end() : call_->exchange().abort();
      return done();
    }
    if (phase_ == Phase::asked && !call_->info.read_only())
      return fail(status::timeout(why + "; the outcome is unknown"));
    fail(status::unavailable(why, 1));
  }

  void fail(const Status& s) {
    ++call_->core.metrics.forward_failures;
    CallPtr call = call_;
    done();
    call->fail(s);
  }

  void done() {
    phase_ = Phase::over;
    timer_.stop();
    forwarding_.reset();
    call_->core.finish(this);
  }

  CallPtr call_;
  std::function<void(CallPtr)> lead_;
  loop::Timer timer_;
  std::unique_ptr<Forwarding> forwarding_;
  Phase phase_ = Phase::waiting;
  uint64_t term_ = 0;  // in which it was sent
  int64_t deadline_ms_ = 0;
  bool paused_ = false, whole_line_ = true;
};

}  // namespace

http::Headers end_to_end(const http::Headers& answer) {
  constexpr std::string_view kept[] = {"Content-Type", "Cache-Control", "Warning",         "Location",
                                       "Retry-After",  "Audit-Id",      "WWW-Authenticate"};
  http::Headers out;
  for (const http::Header& h : answer.list()) {
    const auto same = [&h](std::string_view name) { return http::same_text(h.name, name); };
    if (std::any_of(std::begin(kept), std::end(kept), same)) out.add(h.name, h.value);
  }
  return out;
}

http::Request forwarded_request(const Call& call) {
  const http::Request& from = call.request();
  http::Request r;
  r.method = from.method;
  r.target = from.target;
  r.path = from.path;
  r.query = from.query;
  for (std::string_view name : {"Accept", "Content-Type", "User-Agent"}) {
    for (std::string_view value : from.headers.all(name))
      r.headers.add(std::string(name), std::string(value));
  }
  write_remote_user(r.headers, call.user);
  r.body = from.body;
  return r;
}

void forward(const CallPtr& call, std::function<void(CallPtr)> lead) {
  ++call->core.metrics.forwarded;
  call->resource = schema::find_resource(call->info.group, call->info.version, call->info.resource);
  auto session = std::make_shared<Forward>(call, std::move(lead));
  call->core.keep(session);
  session->start();
}

}  // namespace limpet::api

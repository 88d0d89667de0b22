#include "api/fresh.h"

#include <algorithm>

namespace limpet::api {
namespace {

constexpr int64_t kAgainMs = 100;  // from a leader that could not be asked to the next try

class Wait : public Session {
 public:
  Wait(CallPtr call, std::function<void()> then)
      : call_(std::move(call)), then_(std::move(then)), timer_(call_->core.loop, "api read") {}

  void stop() override { fail(status::unavailable("the server is shutting down", 1)); }

 protected:
  template <class F>
  auto guarded(F f) {
    return [weak = weak_from_this(), this, f = std::move(f)](auto&&... args) mutable {
      std::shared_ptr<Session> keep = weak.lock();
      if (keep && !over_) f(std::forward<decltype(args)>(args)...);
    };
  }

  void fail(const Status& s) {
    if (over_) return;
    end();
    call_->fail(s);
  }

  void go_on() {
    if (over_) return;
    end();
    // It may have been answered meanwhile: its time was over.
    if (!call_->answered()) std::exchange(then_, nullptr)();
  }

  virtual void end() {
    over_ = true;
    timer_.stop();
    call_->core.finish(this);
  }

  CallPtr call_;
  std::function<void()> then_;
  loop::Timer timer_;
  bool over_ = false;
};

// Asks the leader, again for a while where there is none.
class NewestWait final : public Wait {
 public:
  using Wait::Wait;

  void start() {
    deadline_ms_ = call_->core.loop.now_ms() + call_->core.options.leader_wait_ms;
    ask();
  }

  void leadership_changed() override {
    if (!asking_) ask();
  }

 private:
  void ask() {
    if (call_->answered()) return end();
    if (call_->core.single()) return go_on();
    asking_ = true;
    timer_.stop();
    call_->core.cluster->barrier(guarded([this](Result<> done) {
      asking_ = false;
      if (done) {
        call_->newest = true;
        return go_on();
      }
      int64_t left = deadline_ms_ - call_->core.loop.now_ms();
      if (done.error().code != Errc::unavailable || left <= 0) return fail(status::from_error(done.error()));
      timer_.start(std::min(left, kAgainMs), [this] { ask(); });
    }));
  }

  int64_t deadline_ms_ = 0;
  bool asking_ = false;
};

class RevisionWait final : public Wait {
 public:
  RevisionWait(CallPtr call, store::Revision revision, std::function<void()> then)
      : Wait(std::move(call), std::move(then)), revision_(revision) {}

  void start() {
    timer_.start(call_->core.options.fresh_wait_ms,
                 [this] { fail(status::too_large_version(revision_, space().revision())); });
    follow();
  }

 private:
  store::Space& space() { return call_->core.space(*call_->resource); }

  void follow() {
    store::Watch::Sink sink;
    sink.on_events = guarded([this](std::span<const store::Event>) {
      if (space().revision() >= revision_) go_on();
    });
    // A snapshot took the place of what was there: on from that one.
    sink.on_lost = guarded([this](const Error&) {
      call_->core.loop.defer(guarded([this] { space().revision() >= revision_ ? go_on() : follow(); }));
    });
    Result<std::unique_ptr<store::Watch>> watch = space().watch("", space().revision(), std::move(sink));
    if (!watch) return fail(status::from_error(watch.error()));
    watch_ = std::move(*watch);
  }

  void end() override {
    watch_.reset();
    Wait::end();
  }

  const store::Revision revision_;
  std::unique_ptr<store::Watch> watch_;
};

}  // namespace

void await_newest(const CallPtr& call, std::function<void()> then) {
  auto wait = std::make_shared<NewestWait>(call, std::move(then));
  call->core.keep(wait);
  wait->start();
}

void await_revision(const CallPtr& call, store::Revision revision, std::function<void()> then) {
  if (only_state(*call)) {
    return call->fail(status::too_large_version(revision, call->core.space(*call->resource).revision()));
  }
  auto wait = std::make_shared<RevisionWait>(call, revision, std::move(then));
  call->core.keep(wait);
  wait->start();
}

}  // namespace limpet::api

// Watches: the current objects where asked for, then every change of the selected objects, in order, as lines
// of JSON.
//
// A slow client pauses its cursor in the store's history; when the history runs past it, it hears 410 and
// starts anew.
#include <algorithm>
#include <utility>

#include "api/encoder.h"
#include "api/fresh.h"
#include "api/list_options.h"
#include "api/object.h"
#include "api/selection.h"
#include "api/verbs.h"

namespace limpet::api {
namespace {

constexpr size_t kQueueBound = 512 * 1024;
constexpr int64_t kBookmarkMs = 60'000;
constexpr int64_t kShortestMs = 1'800'000;  // 30 to 60 minutes, so that clients do not come back all at once

class Watcher : public Session {
 public:
  Watcher(CallPtr call, Selection selection, ListOptions options)
      : call_(std::move(call)),
        selection_(std::move(selection)),
        options_(std::move(options)),
        encoder_(*call_->resource, call_->answer, call_->core.clock.wall()),
        timer_(call_->core.loop, "watch") {}

  void start() {
    bool initial = options_.send_initial_events ? *options_.send_initial_events : options_.version == 0;
    if (!call_->begin(200, encoder_.content_type())) return done();
    std::weak_ptr<Session> weak = weak_from_this();
    call_->on_gone([weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) done();
    });
    call_->exchange().on_drain([weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) drained();
    });
    int64_t life_ms = options_.timeout_s
                          ? std::min<int64_t>(options_.timeout_s, 86'400) * 1000
                          : kShortestMs + static_cast<int64_t>(call_->core.random.below(kShortestMs));
    deadline_ms_ = call_->core.clock.monotonic_ms() + life_ms;
    arm();
    if (initial) {
      next_page();
    } else {
      follow(options_.version ? options_.version : space().revision());
    }
  }

  // The memory that is watched is that of the leader; another one's has another history.
  void leadership_changed() override {
    if (call_->resource->storage() == schema::Storage::transient && !call_->core.leads()) stop();
  }

  void stop() override {
    if (over_) return;
    call_->exchange().end();
    done();
  }

 private:
  store::Space& space() { return call_->core.space(*call_->resource); }

  void done() {
    if (over_) return;
    over_ = true;
    watch_.reset();
    timer_.stop();
    call_->core.finish(this);
  }

  void send(std::string_view text) {
    if (!text.empty()) call_->exchange().write(text);
  }

  void end_with_error(const Status& s) {
    send("{\"type\":\"ERROR\",\"object\":" + s.json() + "}\n");
    call_->exchange().end();
    done();
  }

  // ---- the current objects

  void next_page() {
    std::weak_ptr<Session> weak = weak_from_this();
    space().list(selection_.prefix, after_, revision_, 0, [weak, this](Result<store::Page> page) {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) on_page(std::move(page));
    });
  }

  void on_page(Result<store::Page> page) {
    if (!page) return end_with_error(status::from_error(page.error()));
    revision_ = page->revision;
    std::string text;
    for (const store::Item& item : page->items) {
      after_ = item.key;
      if (!selection_.matches(*item.value)) continue;
      encoder_.event(text, "ADDED", *item.value, item.mod_revision);
      ++call_->core.metrics.watch_events;
    }
    send(text);
    if (page->more) {
      stalled_ = call_->exchange().write_queue_size() > kQueueBound;
      if (stalled_) return;  // drained() goes on
      std::weak_ptr<Session> weak = weak_from_this();
      call_->core.loop.defer([weak, this] {
        if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) next_page();
      });
      return;
    }
    if (options_.send_initial_events && options_.bookmarks) {
      std::string mark;
      encoder_.bookmark(mark, revision_, true);
      send(mark);
      bookmarked_ = revision_;
    }
    follow(revision_);
  }

  // ---- changes

  void follow(store::Revision after) {
    std::weak_ptr<Session> weak = weak_from_this();
    store::Watch::Sink sink;
    sink.on_events = [weak, this](std::span<const store::Event> events) {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) on_events(events);
    };
    sink.on_lost = [weak, this](Error e) {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) lost(e);
    };
    Result<std::unique_ptr<store::Watch>> w = space().watch(selection_.prefix, after, std::move(sink));
    if (!w) return lost(w.error());
    if (over_) return;
    watch_ = std::move(*w);
    bookmarked_ = std::max(bookmarked_, after);
  }

  void lost(const Error& e) {
    if (e.code != Errc::expired) return end_with_error(status::from_error(e));
    end_with_error(status::expired(strf("too old resource version: %lld (%lld)",
                                        static_cast<long long>(options_.version),
                                        static_cast<long long>(space().compacted_revision()))));
  }

  void on_events(std::span<const store::Event> events) {
    std::string text;
    encoder_.set_now(call_->core.clock.wall());
    for (const store::Event& e : events) append(text, e);
    send(text);
    if (watch_ && call_->exchange().write_queue_size() > kQueueBound) {
      watch_->pause();
      paused_ = true;
    }
  }

  // An object that starts or stops to match the selectors appears or disappears for this client.
  void append(std::string& text, const store::Event& e) {
    using Type = store::Event::Type;
    bool before = e.type == Type::deleted   ? selection_.matches(*e.value)
                  : e.type == Type::created ? false
                                            : e.previous && selection_.matches(*e.previous);
    bool now = e.type != Type::deleted && selection_.matches(*e.value);
    if (!before && !now) return;
    ++call_->core.metrics.watch_events;
    if (now) return encoder_.event(text, before ? "MODIFIED" : "ADDED", *e.value, e.revision);
    // Last state that matched, at the revision of its disappearance.
    encoder_.event(text, "DELETED", e.type == Type::deleted ? *e.value : *e.previous, e.revision);
  }

  void drained() {
    if (std::exchange(stalled_, false)) return next_page();
    if (!paused_ || !watch_) return;
    paused_ = false;
    watch_->resume();
  }

  // ---- time

  void arm() {
    int64_t left = std::max<int64_t>(0, deadline_ms_ - call_->core.clock.monotonic_ms());
    std::weak_ptr<Session> weak = weak_from_this();
    timer_.start(options_.bookmarks ? std::min(left, kBookmarkMs) : left, [weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) tick();
    });
  }

  void tick() {
    bool last = call_->core.clock.monotonic_ms() >= deadline_ms_;
    if (options_.bookmarks && watch_ && !paused_ && watch_->position() > bookmarked_) {
      bookmarked_ = watch_->position();
      std::string mark;
      encoder_.bookmark(mark, bookmarked_, false);
      send(mark);
    }
    if (last) return stop();
    arm();
  }

  CallPtr call_;
  Selection selection_;
  ListOptions options_;
  Encoder encoder_;
  loop::Timer timer_;
  std::unique_ptr<store::Watch> watch_;
  store::Revision revision_ = 0, bookmarked_ = 0;
  std::string after_;
  int64_t deadline_ms_ = 0;
  bool stalled_ = false, paused_ = false, over_ = false;
};

}  // namespace

void watch_objects(CallPtr call) {
  Outcome<ListOptions> options = read_list_options(call->query(), true);
  if (!options) return call->fail(options.error());
  Outcome<Selection> selection = read_selection(*call);
  if (!selection) return call->fail(selection.error());
  const bool given = options->version_given;
  const store::Revision version = options->version;
  when_fresh(call, given, version, [call, s = std::move(*selection), o = std::move(*options)]() mutable {
    auto watcher = std::make_shared<Watcher>(call, std::move(s), std::move(o));
    call->core.keep(watcher);
    watcher->start();
  });
}

}  // namespace limpet::api

#include "store/watch_hub.h"

#include <algorithm>

#include "base/assert.h"

namespace limpet::store {
namespace {

constexpr size_t kSliceEvents = 256;   // given to one watcher at a time
constexpr size_t kTurnEvents = 16384;  // looked at in one turn of the loop

size_t cost(const Event& e) {
  return sizeof e + e.key.size() + (e.value ? e.value->size() : 0) + (e.previous ? e.previous->size() : 0);
}

}  // namespace

struct WatchHub::Cursor {
  std::string prefix;
  Watch::Sink sink;
  bool dead = false;
  bool paused = false;
  bool fetching = false;
  bool from_ring = false;
  uint64_t at = 0;        // the number of the next event, when from_ring
  Revision position = 0;  // everything up to here was delivered
};

class WatchHub::Handle final : public Watch {
 public:
  Handle(std::shared_ptr<WatchHub*> hub, std::shared_ptr<Cursor> cursor)
      : hub_(std::move(hub)), cursor_(std::move(cursor)) {}
  ~Handle() override {
    cursor_->dead = true;
    if (*hub_) (*hub_)->wake();  // the sink itself goes when nobody is inside it
  }
  void pause() override { cursor_->paused = true; }
  void resume() override {
    cursor_->paused = false;
    if (*hub_) (*hub_)->wake();
  }
  Revision position() const override { return cursor_->position; }

 private:
  std::shared_ptr<WatchHub*> hub_;
  std::shared_ptr<Cursor> cursor_;
};

WatchHub::WatchHub(loop::Loop& loop, Limits limits, Revision start, Older older)
    : loop_(loop), limits_(limits), older_(std::move(older)), now_(start), floor_(start) {
  self_ = std::make_shared<WatchHub*>(this);
}

WatchHub::~WatchHub() { *self_ = nullptr; }

void WatchHub::publish(std::vector<Event> events, Revision now) {
  for (Event& e : events) {
    bytes_ += cost(e);
    ring_.push_back(std::move(e));
  }
  now_ = now;
  trim(limits_);
  wake();
}

// Drops whole transactions from the old end. A single transaction larger than the ring goes at once: then the
// watchers read it from the file, or are lost. Events from the number `keep_from` on stay.
void WatchHub::trim(const Limits& limits, uint64_t keep_from) {
  while (!ring_.empty() && first_ < keep_from && (ring_.size() > limits.events || bytes_ > limits.bytes)) {
    const Revision gone = ring_.front().revision;
    while (!ring_.empty() && ring_.front().revision == gone) {
      bytes_ -= cost(ring_.front());
      ring_.pop_front();
      ++first_;
    }
    floor_ = gone;
  }
}

void WatchHub::begin_anew(Revision now, const char* why) {
  first_ += ring_.size();
  ring_.clear();
  bytes_ = 0;
  now_ = floor_ = compacted_ = now;
  const auto self = self_;
  for (const auto& c : std::vector(cursors_)) {
    if (c->dead) continue;
    lose(c, Error{Errc::expired, why, 0});
    if (!*self) return;
  }
}

void WatchHub::shorten(size_t bytes) {
  uint64_t needed = end();
  for (const auto& c : cursors_) {
    if (!older_ && !c->dead) needed = std::min(needed, c->at);
  }
  trim({limits_.events, bytes}, needed);
}

Result<std::unique_ptr<Watch>> WatchHub::watch(const std::string& prefix, Revision after, Watch::Sink sink) {
  if (after > now_) {
    return fail(Errc::invalid_argument, strf("revision %lld is of the future, the newest is %lld",
                                             static_cast<long long>(after), static_cast<long long>(now_)));
  }
  if (after < compacted_ || (after < floor_ && !older_)) {
    return fail(Errc::expired,
                strf("revision %lld is no longer kept, the oldest is %lld", static_cast<long long>(after),
                     static_cast<long long>(std::max(compacted_, older_ ? 0 : floor_))));
  }
  auto cursor = std::make_shared<Cursor>();
  cursor->prefix = prefix;
  cursor->sink = std::move(sink);
  seat(*cursor, after);
  cursors_.push_back(cursor);
  wake();
  return std::make_unique<Handle>(self_, std::move(cursor));
}

void WatchHub::seat(Cursor& c, Revision after) {
  c.position = after;
  c.from_ring = after >= floor_;
  if (!c.from_ring) return;
  const auto it = std::upper_bound(ring_.begin(), ring_.end(), after,
                                   [](Revision r, const Event& e) { return r < e.revision; });
  c.at = first_ + static_cast<uint64_t>(it - ring_.begin());
}

void WatchHub::wake() {
  if (pumping_) return;
  pumping_ = true;
  loop_.defer([self = self_] {
    if (*self) (*self)->pump();
  });
}

// One slice for each watcher that is behind, in turn, until the budget of this turn of the loop is used up.
void WatchHub::pump() {
  pumping_ = false;
  const auto self = self_;
  std::erase_if(cursors_, [](const auto& c) { return c->dead; });
  size_t budget = kTurnEvents;
  bool more = false;
  const size_t n = cursors_.size();
  for (size_t i = 0; i < n && budget > 0; ++i) {
    if (next_ >= cursors_.size()) next_ = 0;
    const auto c = cursors_[next_++];  // may be joined by others, or die, in its own callback
    more |= step(c, budget);
    if (!*self) return;
  }
  if (more || budget == 0) wake();
}

bool WatchHub::step(const std::shared_ptr<Cursor>& c, size_t& budget) {
  if (c->dead || c->fetching) return false;
  if (c->from_ring && c->at < first_) {
    c->from_ring = false;  // the ring went past it
  }
  if (!c->from_ring) {
    if (c->position < compacted_ || !older_) {
      lose(c, Error{Errc::expired,
                    strf("revision %lld is no longer kept", static_cast<long long>(c->position)), 0});
      return false;
    }
    if (!c->paused) fetch(c);
    return false;
  }
  return !c->paused && deliver_from_ring(c, budget);
}

bool WatchHub::deliver_from_ring(const std::shared_ptr<Cursor>& c, size_t& budget) {
  if (c->at == end()) {
    c->position = now_;
    return false;
  }
  std::vector<Event> out;
  Revision last = c->position;
  size_t seen = 0;
  while (c->at != end()) {
    const Event& e = ring_[c->at - first_];
    if (e.revision != last && (out.size() >= kSliceEvents || seen >= budget))
      break;  // between transactions only
    last = e.revision;
    if (std::string_view(e.key).starts_with(c->prefix)) out.push_back(e);
    ++seen;
    ++c->at;
  }
  budget -= std::min(budget, seen);
  const bool at_end = c->at == end();
  c->position = at_end ? now_ : last;
  if (!out.empty()) {
    delivered_ += out.size();
    const auto self = self_;
    c->sink.on_events(out);
    if (!*self) return false;
  }
  return !at_end && !c->paused;
}

void WatchHub::fetch(const std::shared_ptr<Cursor>& c) {
  c->fetching = true;
  older_(c->prefix, c->position, [self = self_, c](Result<Page> page) {
    if (*self) (*self)->fetched(c, std::move(page));
  });
}

void WatchHub::fetched(const std::shared_ptr<Cursor>& c, Result<Page> page) {
  c->fetching = false;
  if (c->dead) return;
  if (!page) return lose(c, page.error());
  LIMPET_ASSERT(page->upto >= c->position);
  seat(*c, page->upto);
  const auto self = self_;
  if (!page->events.empty()) {
    delivered_ += page->events.size();
    c->sink.on_events(page->events);
  }
  if (*self) wake();
}

void WatchHub::lose(const std::shared_ptr<Cursor>& c, Error error) {
  c->dead = true;
  ++lost_;
  const auto self = self_;
  if (c->sink.on_lost) c->sink.on_lost(std::move(error));
  if (*self) wake();
}

Revision WatchHub::oldest_reader() const {
  Revision oldest = now_;
  for (const auto& c : cursors_) {
    if (!c->dead && c->fetching) oldest = std::min(oldest, c->position);
  }
  return oldest;
}

size_t WatchHub::watchers() const {
  return static_cast<size_t>(
      std::count_if(cursors_.begin(), cursors_.end(), [](const auto& c) { return !c->dead; }));
}

}  // namespace limpet::store

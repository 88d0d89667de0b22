// The recent history of a space and the cursors of its watchers.
//
// The ring of recent events is shared and bounded by count and bytes; a watcher costs a position in it. One
// that fell behind the ring reads older events through `Older` (the file), as long as they are not compacted;
// without it, or when they are, it gets on_lost. All on the loop's thread; delivery is in slices, so that
// many watchers do not hold the loop.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "store/store.h"

namespace limpet::store {

class WatchHub {
 public:
  struct Limits {
    size_t events = 4096;
    size_t bytes = 1u << 20;
  };
  struct Page {
    std::vector<Event> events;  // whole transactions, in order, matching the prefix
    Revision upto = 0;          // everything up to here is in it
  };
  // Older events after a revision, for one watcher.
  using Older =
      std::function<void(const std::string& prefix, Revision after, std::function<void(Result<Page>)> done)>;

  // `start`: the revision at which the ring begins (nothing before it is known here).
  WatchHub(loop::Loop& loop, Limits limits, Revision start, Older older);
  ~WatchHub();
  WatchHub(const WatchHub&) = delete;

  // Events of one or more whole transactions, in order; `now` is the revision after them.
  void publish(std::vector<Event> events, Revision now);
  // Lets go of the oldest events beyond so many bytes, once; but where they cannot be read again, of none
  // that a watcher has yet to be given.
  void shorten(size_t bytes);
  // Another history takes the place of this one: whoever watches is told, with `why`, that it has lost its
  // own.
  void begin_anew(Revision now, const char* why);
  // Nothing at or below this can be read any more.
  void set_compacted(Revision revision) { compacted_ = revision; }

  Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after, Watch::Sink sink);

  Revision now() const { return now_; }
  Revision compacted() const { return compacted_; }
  // The ring holds every event after this revision.
  Revision floor() const { return floor_; }
  const std::deque<Event>& ring() const { return ring_; }
  // The position of the slowest watcher that still reads the file; `now` when there is none.
  Revision oldest_reader() const;
  size_t watchers() const;
  uint64_t delivered() const { return delivered_; }
  uint64_t lost() const { return lost_; }

 private:
  struct Cursor;
  class Handle;
  void trim(const Limits& limits, uint64_t keep_from = UINT64_MAX);
  void wake();
  void pump();
  bool step(const std::shared_ptr<Cursor>& c, size_t& budget);  // true: more to do
  bool deliver_from_ring(const std::shared_ptr<Cursor>& c, size_t& budget);
  void fetch(const std::shared_ptr<Cursor>& c);
  void fetched(const std::shared_ptr<Cursor>& c, Result<Page> page);
  void seat(Cursor& c, Revision after);
  void lose(const std::shared_ptr<Cursor>& c, Error error);
  uint64_t end() const { return first_ + ring_.size(); }

  loop::Loop& loop_;
  Limits limits_;
  Older older_;
  std::deque<Event> ring_;
  uint64_t first_ = 0;  // the number of ring_[0]; numbers grow for ever
  size_t bytes_ = 0;
  Revision now_;
  Revision floor_;
  Revision compacted_ = 0;
  std::vector<std::shared_ptr<Cursor>> cursors_;
  bool pumping_ = false;
  size_t next_ = 0;  // whose turn it is
  uint64_t delivered_ = 0;
  uint64_t lost_ = 0;
  std::shared_ptr<WatchHub*> self_;  // for deferred calls: outlived by nothing
};

}  // namespace limpet::store

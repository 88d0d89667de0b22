// The keys a controller has to look at, as a pure data structure: each key at most once, never handed out
// twice at the same time, some of them not before their time.
//
// A key that failed comes back after 5 ms, then twice that each time, up to 1000 s; over all keys ten
// failures a second come back, after a burst of a hundred (the limits of upstream's controllers). There are
// at most as many keys as objects. Times are milliseconds of a monotonic clock, given by the caller.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace limpet::controllers {

class WorkQueue {
 public:
  void add(const std::string& key);
  // Not before `at_ms`; an earlier time that is already set stays.
  void add_at(const std::string& key, int64_t at_ms);
  // After a failure, which is counted until forget().
  void retry(const std::string& key, int64_t now_ms);
  void forget(const std::string& key) { failures_.erase(key); }
  int failures(const std::string& key) const;

  // The next key whose time has come; it is in hand until done(). Nothing: see next_ms().
  std::optional<std::string> take(int64_t now_ms);
  // What was added meanwhile is handed out again.
  void done(const std::string& key);
  // When something becomes due that is not yet; nullopt when nothing waits.
  std::optional<int64_t> next_ms() const;
  bool ready() const { return !ready_.empty(); }
  size_t in_hand() const { return in_hand_.size(); }

 private:
  void move_due(int64_t now_ms);

  std::deque<std::string> ready_;
  std::set<std::string> queued_;            // those in ready_
  std::set<std::string> in_hand_, again_;   // again_: added while in hand
  std::map<std::string, int64_t> waiting_;  // key -> time
  std::map<std::string, int> failures_;
  // When the next failure beyond the burst may come back.
  int64_t bucket_ms_ = std::numeric_limits<int64_t>::min() / 2;
};

}  // namespace limpet::controllers

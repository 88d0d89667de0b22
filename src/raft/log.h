// The end of the log, in memory: every entry that is not both applied and stored, and as many before them as
// fit into a bound, for followers that are not far behind. Older ones are on disk and come through the host.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "raft/types.h"

namespace limpet::raft {

class Log {
 public:
  // Empty, and begins after `base`.
  explicit Log(SnapshotPoint base) : base_(base) {}

  Index base() const { return base_.index; }
  Index last() const { return base_.index + slots_.size(); }
  Term last_term() const { return slots_.empty() ? base_.term : slots_.back().entry.term; }
  // Of entries from base() to last(); nothing elsewhere.
  std::optional<Term> term(Index index) const;
  const Entry& at(Index index) const;  // base() < index <= last()
  // Whether an entry (index, term) can be the end of a log that is at least as complete as this one
  // (paper 5.4.1).
  bool up_to_date(Index index, Term term) const;
  // The last index that is at most `index` whose term is at most `term`, as far down as terms are known:
  // below it the logs may agree.
  Index agreement(Index index, Term term) const;

  void append(Entry entry);         // index last() + 1
  void truncate_from(Index index);  // base() < index
  void reset(SnapshotPoint point);  // empty, after a snapshot
  // Drops entries up to `upto` until what is held costs at most `bytes`.
  void forget(Index upto, size_t bytes);

  // Entries after `after` up to `upto`, within `max_cost` but at least one. base() <= after.
  std::vector<Entry> slice(Index after, Index upto, size_t max_cost) const;
  // What the entries after `after` up to `upto` cost.
  size_t cost(Index after, Index upto) const { return end(upto) - end(after); }

 private:
  struct Slot {
    Entry entry;
    uint64_t end;  // cost of all entries ever held, up to this one: a difference is never out of step
  };
  uint64_t end(Index index) const;

  SnapshotPoint base_;
  uint64_t base_end_ = 0;
  std::deque<Slot> slots_;
};

}  // namespace limpet::raft

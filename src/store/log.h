// The replicated log as the state machine sees it. Raft fills this interface; a single device is a group of
// one.
//
// The state machine proposes finished bytes and pulls what the group has agreed on, in order, when it has
// room for it. Everything is on the loop's thread. An entry that was proposed here carries its ticket, so
// that the proposer's callback is found when the entry is applied; entries of others carry ticket 0.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::store {

using Ticket = uint64_t;  // names a proposal of this process until it is applied or dropped; never 0

struct LogEntry {
  uint64_t index = 0;
  uint64_t term = 0;
  Ticket ticket = 0;
  std::string bytes;  // see entry.h
};

class Log {
 public:
  struct Sink {
    std::function<void()> on_ready;  // take() has something
    // The proposal will not be applied (`unavailable`), or nobody knows (`timeout`).
    std::function<void(Ticket, Error)> on_dropped;
  };
  virtual ~Log() = default;
  virtual void start(Sink sink) = 0;
  // Error `unavailable`: certainly not done (no leader, too much under way).
  virtual Result<Ticket> propose(std::string bytes) = 0;
  // The next agreed entries, in index order; each is taken once.
  virtual std::vector<LogEntry> take(size_t max_entries, size_t max_bytes) = 0;
  // The state up to index is on stable storage: the log need not keep the entries.
  virtual void applied(uint64_t index) = 0;
  // A group of one appends and applies in one transaction: when that was rolled back, as if never written,
  // the entries from this index on were not agreed on and their indexes are free. Those in `again` are given
  // by take() once more.
  virtual void rolled_back(uint64_t first_index, std::vector<LogEntry> again) = 0;
  virtual bool empty() const = 0;  // nothing to take
};

}  // namespace limpet::store

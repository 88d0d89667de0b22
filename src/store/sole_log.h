// The log of a group of one: agreed as soon as proposed, stored by the very transaction that applies it (so
// its tail on disk is empty and no byte is written twice).
#pragma once

#include <deque>

#include "store/log.h"

namespace limpet::store {

class SoleLog final : public Log {
 public:
  static constexpr size_t kMaxEntries = 8192;
  static constexpr size_t kMaxBytes = 32u << 20;

  SoleLog(uint64_t last_index, uint64_t term) : next_index_(last_index + 1), term_(term) {}
  void start(Sink sink) override { sink_ = std::move(sink); }
  Result<Ticket> propose(std::string bytes) override;
  std::vector<LogEntry> take(size_t max_entries, size_t max_bytes) override;
  void applied(uint64_t) override {}
  void rolled_back(uint64_t first_index, std::vector<LogEntry> again) override;
  bool empty() const override { return queue_.empty(); }

 private:
  struct Waiting {
    Ticket ticket;
    std::string bytes;
  };
  Sink sink_;
  std::deque<Waiting> queue_;
  size_t queued_bytes_ = 0;
  Ticket next_ticket_ = 1;
  uint64_t next_index_;
  uint64_t term_;
};

}  // namespace limpet::store

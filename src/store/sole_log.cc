#include "store/sole_log.h"

namespace limpet::store {

Result<Ticket> SoleLog::propose(std::string bytes) {
  if (queue_.size() >= kMaxEntries || queued_bytes_ + bytes.size() > kMaxBytes) {
    return fail(Errc::unavailable,
                strf("too many writes are waiting for the disk (%zu, %zu bytes); try again", queue_.size(),
                     queued_bytes_));
  }
  queued_bytes_ += bytes.size();
  const Ticket ticket = next_ticket_++;
  queue_.push_back({ticket, std::move(bytes)});
  if (sink_.on_ready) sink_.on_ready();
  return ticket;
}

std::vector<LogEntry> SoleLog::take(size_t max_entries, size_t max_bytes) {
  std::vector<LogEntry> out;
  size_t bytes = 0;
  while (!queue_.empty() && out.size() < max_entries) {
    Waiting& w = queue_.front();
    if (!out.empty() && bytes + w.bytes.size() > max_bytes) break;
    bytes += w.bytes.size();
    queued_bytes_ -= w.bytes.size();
    out.push_back({next_index_++, term_, w.ticket, std::move(w.bytes)});
    queue_.pop_front();
  }
  return out;
}

void SoleLog::rolled_back(uint64_t first_index, std::vector<LogEntry> again) {
  next_index_ = first_index;
  for (size_t i = again.size(); i-- > 0;) {
    queued_bytes_ += again[i].bytes.size();
    queue_.push_front({again[i].ticket, std::move(again[i].bytes)});
  }
}

}  // namespace limpet::store

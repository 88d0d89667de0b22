#include "raft/log.h"

#include <algorithm>

#include "base/assert.h"

namespace limpet::raft {

std::optional<Term> Log::term(Index index) const {
  if (index == base_.index) return base_.term;
  if (index < base_.index || index > last()) return std::nullopt;
  return at(index).term;
}

const Entry& Log::at(Index index) const {
  LIMPET_ASSERT(index > base_.index && index <= last());
  return slots_[index - base_.index - 1].entry;
}

bool Log::up_to_date(Index index, Term term) const {
  return term > last_term() || (term == last_term() && index >= last());
}

Index Log::agreement(Index index, Term term) const {
  index = std::min(index, last());
  while (index > base_.index && at(index).term > term) --index;
  return index;
}

uint64_t Log::end(Index index) const {
  LIMPET_ASSERT(index >= base_.index && index <= last());
  return index == base_.index ? base_end_ : slots_[index - base_.index - 1].end;
}

void Log::append(Entry entry) {
  LIMPET_ASSERT(entry.index == last() + 1 && entry.term >= last_term() && entry.bytes);
  const uint64_t end_of_it = end(last()) + entry.cost();
  slots_.push_back({std::move(entry), end_of_it});
}

void Log::truncate_from(Index index) {
  LIMPET_ASSERT(index > base_.index);
  while (last() >= index) slots_.pop_back();
}

void Log::reset(SnapshotPoint point) {
  slots_.clear();
  base_ = point;
}

void Log::forget(Index upto, size_t bytes) {
  LIMPET_ASSERT(upto <= last());
  while (base_.index < upto && cost(base_.index, last()) > bytes) {
    base_ = {slots_.front().entry.index, slots_.front().entry.term};
    base_end_ = slots_.front().end;
    slots_.pop_front();
  }
}

std::vector<Entry> Log::slice(Index after, Index upto, size_t max_cost) const {
  std::vector<Entry> out;
  size_t total = 0;
  for (Index i = after + 1; i <= upto; ++i) {
    const Entry& entry = at(i);
    total += entry.cost();
    if (!out.empty() && total > max_cost) break;
    out.push_back(entry);
  }
  return out;
}

}  // namespace limpet::raft

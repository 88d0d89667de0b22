#include "sent.h"

#include <algorithm>

#include "store/entry.h"

namespace sim {

using namespace limpet;

void Sent::note(const raft::Append& append) {
  for (const raft::Entry& entry : append.entries) {
    raft::Term& term = terms_[entry.index];
    term = std::max(term, entry.term);
    if (entry.kind != raft::EntryKind::normal || entry.bytes->empty()) continue;
    const auto decoded = store::decode_entry(*entry.bytes);
    if (!decoded) continue;
    for (const store::EntryOp& op : decoded->ops) {
      if (op.type != store::Op::Type::put || !op.key.starts_with("r/")) continue;
      const auto value = store::from_stored(op.stored);
      if (value) writes_[std::string(value->substr(0, value->find(' ')))].emplace(entry.index, entry.term);
    }
  }
}

// What is applied was agreed on, so that its term is none later than the last in which it was sent.
bool Sent::unproven(const std::string& value, raft::Index applied) const {
  const auto write = writes_.find(value);
  const auto agreed = terms_.find(applied);
  if (write == writes_.end() || agreed == terms_.end()) return false;
  return std::any_of(write->second.begin(), write->second.end(), [&](const auto& entry) {
    return applied < entry.first && agreed->second <= entry.second;
  });
}

}  // namespace sim

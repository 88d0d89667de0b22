#include "controllers/nodelifecycle/evictions.h"

namespace limpet::controllers::nodelifecycle {

int64_t Evictions::schedule(const std::string& pod, const std::string& uid, int64_t allowance_ms,
                            int64_t now_ms) {
  Entry& e = entries_[pod];
  if (e.uid != uid) e = {uid, now_ms, false};
  return e.since_ms + allowance_ms;
}

void Evictions::sent(const std::string& pod) {
  if (const auto it = entries_.find(pod); it != entries_.end()) it->second.sent = true;
}

bool Evictions::was_sent(const std::string& pod) const {
  const auto it = entries_.find(pod);
  return it != entries_.end() && it->second.sent;
}

bool Evictions::cancel(const std::string& pod) {
  const auto it = entries_.find(pod);
  if (it == entries_.end()) return false;
  const bool waiting = !it->second.sent;
  entries_.erase(it);
  return waiting;
}

}  // namespace limpet::controllers::nodelifecycle

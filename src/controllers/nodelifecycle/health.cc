#include "controllers/nodelifecycle/health.h"

#include <algorithm>

namespace limpet::controllers::nodelifecycle {

void Health::seen(const std::string& name, int64_t now_ms) {
  const Standing first = name == own_ ? Standing::reachable : Standing::unheard;
  devices_.try_emplace(name, Device{now_ms, first});
}

void Health::gone(const std::string& name) {
  const auto it = devices_.find(name);
  if (it == devices_.end()) return;
  if (it->second.standing == Standing::unreachable) unreachable_--;
  devices_.erase(it);
}

bool Health::heard(const std::string& name, int64_t now_ms) {
  const auto it = devices_.find(name);
  if (it == devices_.end()) return false;
  Device& d = it->second;
  d.heard_ms = now_ms;
  const bool was_unreachable = d.standing == Standing::unreachable;
  if (was_unreachable) unreachable_--;
  d.standing = Standing::reachable;
  return was_unreachable;
}

void Health::restart(int64_t now_ms) {
  for (auto& [name, d] : devices_) d.heard_ms = now_ms;
}

std::vector<std::string> Health::judge(int64_t now_ms) {
  std::vector<std::string> out;
  for (auto& [name, d] : devices_) {
    if (name == own_ || d.standing == Standing::unreachable || now_ms - d.heard_ms < grace_ms_) continue;
    d.standing = Standing::unreachable;
    unreachable_++;
    out.push_back(name);
  }
  return out;
}

std::optional<int64_t> Health::next_ms() const {
  std::optional<int64_t> out;
  for (const auto& [name, d] : devices_) {
    if (name == own_ || d.standing == Standing::unreachable) continue;
    out = std::min(out.value_or(d.heard_ms + grace_ms_), d.heard_ms + grace_ms_);
  }
  return out;
}

Standing Health::standing(const std::string& name) const {
  const auto it = devices_.find(name);
  return it == devices_.end() ? Standing::unheard : it->second.standing;
}

}  // namespace limpet::controllers::nodelifecycle

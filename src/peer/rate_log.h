// One log line a key and minute, however often something happens; the rest is counted. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace limpet::peer {

class RateLog {
 public:
  static constexpr int64_t every_ms = 60'000;
  static constexpr size_t max_keys = 256;  // more than these are silent until one has been for a minute

  // Nothing: be silent. Otherwise how many of this key were left out since its last line.
  std::optional<uint64_t> admit(const std::string& key, int64_t now_ms) {
    auto it = keys_.find(key);
    if (it != keys_.end() && now_ms - it->second.spoke_ms < every_ms) {
      ++it->second.left_out;
      return std::nullopt;
    }
    if (it == keys_.end()) {
      if (keys_.size() >= max_keys && !make_room(now_ms)) return std::nullopt;
      it = keys_.emplace(key, Entry{}).first;
    }
    it->second.spoke_ms = now_ms;
    return std::exchange(it->second.left_out, 0);
  }
  size_t size() const { return keys_.size(); }

 private:
  struct Entry {
    int64_t spoke_ms = 0;
    uint64_t left_out = 0;
  };
  bool make_room(int64_t now_ms) {
    auto oldest = keys_.begin();
    for (auto it = keys_.begin(); it != keys_.end(); ++it) {
      if (it->second.spoke_ms < oldest->second.spoke_ms) oldest = it;
    }
    if (now_ms - oldest->second.spoke_ms < every_ms) return false;
    keys_.erase(oldest);
    return true;
  }
  std::map<std::string, Entry> keys_;
};

}  // namespace limpet::peer

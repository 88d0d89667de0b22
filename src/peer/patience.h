// For how long each device is given to answer a hello: longer after each time that it was too short, until it
// has answered once. Internal; of those who are dialled, who are few.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

namespace limpet::peer {

class Patience {
 public:
  Patience(int64_t first_ms, int64_t most_ms) : first_ms_(first_ms), most_ms_(most_ms) {}

  int64_t with(const std::string& device) const {
    const auto it = slow_.find(device);
    return it == slow_.end() ? first_ms_ : it->second;
  }
  // It was given so long, and did not answer.
  void exhausted(const std::string& device, int64_t ms) { slow_[device] = std::min(2 * ms, most_ms_); }
  void answered(const std::string& device) { slow_.erase(device); }

 private:
  int64_t first_ms_, most_ms_;
  std::map<std::string, int64_t> slow_;
};

}  // namespace limpet::peer

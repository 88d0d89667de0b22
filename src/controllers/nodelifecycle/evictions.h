// Which pods are to be evicted and when: a pure book on the leader's monotonic clock.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace limpet::controllers::nodelifecycle {

class Evictions {
 public:
  // The pod may stay for `allowance_ms` from when it was first written down here; a new allowance counts
  // from then, too. Returns when it is due. A pod of another uid is another pod.
  int64_t schedule(const std::string& pod, const std::string& uid, int64_t allowance_ms, int64_t now_ms);
  // Its deletion was asked for: told once.
  void sent(const std::string& pod);
  bool was_sent(const std::string& pod) const;
  // True: it was waiting.
  bool cancel(const std::string& pod);
  bool has(const std::string& pod) const { return entries_.contains(pod); }
  bool empty() const { return entries_.empty(); }

 private:
  struct Entry {
    std::string uid;
    int64_t since_ms = 0;
    bool sent = false;
  };
  std::map<std::string, Entry> entries_;
};

}  // namespace limpet::controllers::nodelifecycle

// Which devices were heard of, and when: a pure book on the leader's monotonic clock. What devices write
// about time is not read, since their clocks may be wrong, and nothing is known of before this term: a book
// begins empty with each leadership, so that every device gets the whole grace period anew.
//
// A device is unheard until its first sign of life in this term, then reachable; it is unreachable when
// nothing came for the grace period. The device that keeps the book is always reachable for itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace limpet::controllers::nodelifecycle {

enum class Standing { unheard, reachable, unreachable };

class Health {
 public:
  Health(std::string own, int64_t grace_ms) : own_(std::move(own)), grace_ms_(grace_ms) {}

  // A Node of this name is there; its grace begins when it is new.
  void seen(const std::string& name, int64_t now_ms);
  void gone(const std::string& name);
  // A sign of life. True: it was unreachable. Of a name that was not seen it says nothing.
  bool heard(const std::string& name, int64_t now_ms);
  // Every device that is not unreachable gets the whole grace period anew.
  void restart(int64_t now_ms);

  // Those whose grace is over become unreachable and are named, in order.
  std::vector<std::string> judge(int64_t now_ms);
  // When the next one would; nothing when there is nobody left.
  std::optional<int64_t> next_ms() const;

  Standing standing(const std::string& name) const;
  size_t size() const { return devices_.size(); }
  size_t unreachable() const { return unreachable_; }
  // More than 55 % are unreachable: rather the uplink of this device is gone than they are. The share is
  // that of upstream's --unhealthy-zone-threshold. Of two devices one is less, so that the other's pods are
  // evicted; of three, two are more.
  bool suspect() const { return unreachable_ * 100 > devices_.size() * 55; }

 private:
  struct Device {
    int64_t heard_ms = 0;
    Standing standing = Standing::unheard;
  };
  std::string own_;
  int64_t grace_ms_;
  std::map<std::string, Device> devices_;
  size_t unreachable_ = 0;
};

}  // namespace limpet::controllers::nodelifecycle

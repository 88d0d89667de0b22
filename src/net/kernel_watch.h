// Notices when somebody changes what the pod network rests on: its table of nftables, its bridge, the
// bridge's address, the links of pods. Told by the kernel (netlink notifications), so that it costs nothing
// while nothing changes. Changes of our own are told as well: whoever listens compares.
//
// Owned by PodNetworks; loop thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "loop/poll.h"
#include "net/link.h"

namespace limpet::net {

struct WatchedThings {
  std::string table;
  std::string bridge;
  Ipv4 gateway;  // the bridge's address
  std::function<bool(const std::string& link)> is_pod_link;
};

// Whether a notification of rtnetlink speaks of one of them. Pure.
bool concerns_links(uint16_t type, std::string_view payload, const WatchedThings& things);

class KernelWatch {
 public:
  // `changed` is called for each burst of notifications that concern the things, and when the kernel had to
  // drop some.
  static Result<std::unique_ptr<KernelWatch>> make(loop::Loop& loop, WatchedThings things,
                                                   loop::Task changed);
  ~KernelWatch();
  KernelWatch(const KernelWatch&) = delete;

 private:
  struct Impl;
  explicit KernelWatch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::net

// A socket to the kernel's rtnetlink in some network namespace, or to its nftables. Requests are synchronous:
// the kernel works them off inside sendmsg and has queued its answer when that returns; since deleting a link
// may sleep in the kernel all the same, callers run on the pool, never on the loop.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/netlink_message.h"

namespace limpet::net {

class NetlinkSocket {
 public:
  // In the caller's own namespace, or (by setns(2) there and back on this thread) in that of `netns`.
  static Result<NetlinkSocket> open();
  static Result<NetlinkSocket> open_in(int netns_fd);
  // To nftables (NETLINK_NETFILTER), in the caller's own namespace.
  static Result<NetlinkSocket> open_netfilter();

  // Sends and waits for the acknowledgement. The error carries the kernel's errno and, where it gave one, its
  // text.
  Result<> request(NetlinkMessage& message, std::string_view what);
  // Sends a request with an answer of one or many messages; f gets type and payload of each.
  Result<> query(NetlinkMessage& message, std::string_view what,
                 const std::function<void(uint16_t type, std::string_view payload)>& f);

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  uint32_t sequence_ = 0;
};

}  // namespace limpet::net

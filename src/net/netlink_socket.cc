#include "net/netlink_socket.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/assert.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

namespace limpet::net {

namespace {

Result<UniqueFd> open_socket(int protocol = NETLINK_ROUTE) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fail_errno(errno, "open a netlink socket");
  const int on = 1;
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);  // older kernels: plain errno only
  const timeval limit{5, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

// The kernel's own words for a refusal, if it gave any.
std::string ack_text(std::string_view payload) {
  nlmsgerr e{};
  if (payload.size() < sizeof e) return {};
  memcpy(&e, payload.data(), sizeof e);
  std::string text;
  each_attribute(payload.substr(sizeof e), [&](uint16_t type, std::string_view data) {
    if (type == NLMSGERR_ATTR_MSG) text = std::string(data.substr(0, data.find('\0')));
  });
  return text;
}

}  // namespace

Result<NetlinkSocket> NetlinkSocket::open() {
  TRY(UniqueFd fd, open_socket());
  return NetlinkSocket(std::move(fd));
}

Result<NetlinkSocket> NetlinkSocket::open_netfilter() {
  TRY(UniqueFd fd, open_socket(NETLINK_NETFILTER));
  return NetlinkSocket(std::move(fd));
}

Result<NetlinkSocket> NetlinkSocket::open_in(int netns_fd) {
  const UniqueFd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home) return fail_errno(errno, "open own network namespace");
  if (setns(netns_fd, CLONE_NEWNET) != 0) return fail_errno(errno, "enter network namespace");
  auto fd = open_socket();
  // A thread left in a pod's namespace would configure the wrong host ever after.
  LIMPET_ASSERT(setns(home.get(), CLONE_NEWNET) == 0);
  if (!fd) return std::unexpected(std::move(fd).error());
  return NetlinkSocket(std::move(*fd));
}

Result<> NetlinkSocket::request(NetlinkMessage& message, std::string_view what) {
  return query(message, what, [](uint16_t, std::string_view) {});
}

Result<> NetlinkSocket::query(NetlinkMessage& message, std::string_view what,
                              const std::function<void(uint16_t, std::string_view)>& f) {
  const std::string& bytes = message.finish(++sequence_);
  if (send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return fail_errno(errno, what);
  alignas(nlmsghdr) char buffer[32768];
  for (;;) {
    const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno == EAGAIN ? ETIMEDOUT : errno, what);
    std::string_view rest(buffer, static_cast<size_t>(n));
    while (rest.size() >= sizeof(nlmsghdr)) {
      nlmsghdr h{};
      memcpy(&h, rest.data(), sizeof h);
      if (h.nlmsg_len < sizeof h || h.nlmsg_len > rest.size())
        return fail(Errc::corrupt, std::string(what) + ": short answer");
      const std::string_view payload = rest.substr(NLMSG_HDRLEN, h.nlmsg_len - NLMSG_HDRLEN);
      rest.remove_prefix(std::min<size_t>(NLMSG_ALIGN(h.nlmsg_len), rest.size()));
      if (h.nlmsg_seq != sequence_) continue;  // left over from an earlier request that timed out
      if (h.nlmsg_type != NLMSG_ERROR && h.nlmsg_type != NLMSG_DONE) {
        f(h.nlmsg_type, payload);
        continue;
      }
      int code = 0;  // a dump that ends early says why in its last message
      if (payload.size() >= sizeof code) memcpy(&code, payload.data(), sizeof code);
      if (code >= 0) return {};
      const std::string text = ack_text(payload);
      return fail_errno(-code, text.empty() ? std::string(what) : std::string(what) + " (" + text + ")");
    }
  }
}

}  // namespace limpet::net

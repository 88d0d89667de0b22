#include "net/kernel_watch.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "net/nft_table.h"

namespace limpet::net {

namespace {

bool is_address(std::string_view payload, Ipv4 wanted) {
  bool found = false;
  if (payload.size() < sizeof(ifaddrmsg)) return false;
  each_attribute(payload.substr(NLMSG_ALIGN(sizeof(ifaddrmsg))), [&](uint16_t type, std::string_view data) {
    uint32_t raw = 0;
    if (type != IFA_LOCAL || data.size() != sizeof raw) return;
    memcpy(&raw, data.data(), sizeof raw);
    found = ntohl(raw) == wanted.host_order;
  });
  return found;
}

Result<UniqueFd> listening_socket(int protocol, uint32_t groups) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd) return fail_errno(errno, "open a netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "listen to the kernel's notifications");
  }
  return fd;
}

}  // namespace

bool concerns_links(uint16_t type, std::string_view payload, const WatchedThings& things) {
  if (type == RTM_DELADDR) return is_address(payload, things.gateway);
  if (type != RTM_NEWLINK && type != RTM_DELLINK) return false;
  const std::string name = read_link(payload).name;
  return name == things.bridge || things.is_pod_link(name);
}

struct KernelWatch::Impl {
  struct Source {
    UniqueFd fd;
    std::unique_ptr<loop::Poll> poll;
  };
  WatchedThings things;
  loop::Task changed;
  Source links, rules;

  Result<> listen(loop::Loop& loop, Source* source, int protocol, uint32_t groups) {
    TRY(source->fd, listening_socket(protocol, groups));
    TRY(source->poll, loop::Poll::make(loop, source->fd.get()));
    source->poll->start(true, false, [this, fd = source->fd.get(), protocol](loop::PollEvents) {
      if (drain(fd, protocol)) changed();
    });
    return {};
  }

  // A few datagrams at a time, so that a storm of notifications leaves the loop to others.
  bool drain(int fd, int protocol) {
    bool touched = false;
    alignas(nlmsghdr) char buffer[16384];
    for (int i = 0; i < 32; i++) {
      const ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == ENOBUFS) {
        touched = true;  // some were lost: anything may have changed
        continue;
      }
      if (n <= 0) break;
      each_message(
          std::string_view(buffer, static_cast<size_t>(n)), [&](uint16_t type, std::string_view payload) {
            touched = touched || (protocol == NETLINK_ROUTE ? concerns_links(type, payload, things)
                                                            : concerns_table(type, payload, things.table));
          });
    }
    return touched;
  }
};

KernelWatch::KernelWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KernelWatch::~KernelWatch() = default;

Result<std::unique_ptr<KernelWatch>> KernelWatch::make(loop::Loop& loop, WatchedThings things,
                                                       loop::Task changed) {
  auto impl = std::make_unique<Impl>();
  impl->things = std::move(things);
  impl->changed = std::move(changed);
  CHECK_OK(impl->listen(loop, &impl->links, NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR));
  CHECK_OK(impl->listen(loop, &impl->rules, NETLINK_NETFILTER, 1u << (NFNLGRP_NFTABLES - 1)));
  return std::unique_ptr<KernelWatch>(new KernelWatch(std::move(impl)));
}

}  // namespace limpet::net

#include "daemon/names.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/unique_fd.h"
#include "net/netlink_socket.h"
#include "net/uplink.h"
#include "peer/address.h"

namespace limpet::daemon {
namespace {

std::string text_of(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  } else if (address->sa_family == AF_INET6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&v6)) return "";
    inet_ntop(AF_INET6, &v6, text, sizeof text);
  }
  return text;
}

void add_once(std::vector<std::string>& list, std::string text) {
  if (!text.empty() && std::find(list.begin(), list.end(), text) == list.end())
    list.push_back(std::move(text));
}

bool is_address(const std::string& text) { return check_format(Format::address, text).empty(); }

}  // namespace

Result<std::vector<std::string>> device_addresses() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return fail_errno(errno, "list addresses");
  std::vector<std::string> out;
  for (const ifaddrs* a = first; a; a = a->ifa_next) {
    if (a->ifa_addr && (a->ifa_flags & IFF_UP)) add_once(out, text_of(a->ifa_addr));
  }
  freeifaddrs(first);
  std::sort(out.begin(), out.end());
  return out;
}

std::string first_address(const std::string& cidr) {
  auto range = parse_cidr(cidr);
  if (!range) return "";
  for (size_t i = range->family == AF_INET ? 4 : 16; i-- > 0;) {
    if (++range->bytes[i] != 0) break;
  }
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(range->family, range->bytes.data(), text, sizeof text);
  return text;
}

pki::Names serving_names(const Config& config, const std::string& node_name, const std::string& host_name,
                         const std::vector<std::string>& addresses) {
  pki::Names out;
  for (const std::string& name :
       {std::string("kubernetes"), std::string("kubernetes.default"), std::string("kubernetes.default.svc"),
        "kubernetes.default.svc." + config.network.cluster_domain, std::string("localhost"), node_name,
        host_name}) {
    if (!is_address(name)) add_once(out.dns, name);
  }
  for (const char* loopback : {"127.0.0.1", "::1"}) add_once(out.ips, loopback);
  for (const std::string& address : addresses) add_once(out.ips, address);
  add_once(out.ips, first_address(config.network.service_cidr));
  if (!config.node.address.empty()) add_once(out.ips, config.node.address);
  const std::string& listen = config.listen.api_address;
  if (listen != "0.0.0.0" && listen != "::") add_once(out.ips, listen);
  if (!config.node.dns_name.empty()) add_once(out.dns, config.node.dns_name);
  for (const std::string& name : config.tls.names) add_once(is_address(name) ? out.ips : out.dns, name);
  return out;
}

std::string device_address(const Config& config) {
  if (!config.node.address.empty()) return config.node.address;
  auto socket = net::NetlinkSocket::open();
  if (!socket) {
    log::warning("the device's address is unknown, going on with loopback", {{"error", socket.error()}});
    return "127.0.0.1";
  }
  const auto uplink = net::find_uplink(*socket);
  const auto addresses = net::global_addresses(*socket);
  for (const Error* e : {uplink ? nullptr : &uplink.error(), addresses ? nullptr : &addresses.error()}) {
    if (e) log::warning("the device's address may be another one than chosen", {{"error", *e}});
  }
  return net::choose_device_address(
             uplink ? *uplink : std::nullopt, addresses ? *addresses : std::vector<net::DeviceAddress>(),
             config.network.bridge, net::parse_cidr(config.network.pod_cidr).value_or(net::Cidr{{0}, 32}))
      .text();
}

std::vector<std::string> peers_addresses(const Config& config) {
  std::vector<std::string> out;
  for (const std::string& host : {device_address(config), config.node.dns_name}) {
    if (host.empty()) continue;
    out.push_back(peer::Address{host, static_cast<uint16_t>(config.listen.peers_port)}.text());
  }
  return out;
}

std::string local_api_url(const Config& config) {
  std::string host = config.listen.api_address;
  if (host == "0.0.0.0" || host == "::") host = "127.0.0.1";
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return strf("https://%s:%lld", host.c_str(), static_cast<long long>(config.listen.api_port));
}

struct AddressWatch::Impl {
  UniqueFd fd;
  std::unique_ptr<loop::Poll> poll;
  std::unique_ptr<loop::Timer> settle;
  int64_t settle_ms = 0;
  loop::Task changed;

  // What the messages say does not matter, nor whether some were lost (ENOBUFS): the addresses are read
  // afresh.
  void drain() {
    char buffer[8192];
    while (recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0 || errno == ENOBUFS) errno = 0;
    if (!settle->active()) settle->start(settle_ms, changed);
  }
};

AddressWatch::AddressWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AddressWatch::~AddressWatch() = default;

Result<std::unique_ptr<AddressWatch>> AddressWatch::make(loop::Loop& loop, Of what, int64_t settle_ms,
                                                         loop::Task changed) {
  auto impl = std::make_unique<Impl>();
  impl->fd.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!impl->fd) return fail_errno(errno, "netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (what == Of::addresses_and_routes) address.nl_groups |= RTMGRP_IPV4_ROUTE;
  if (bind(impl->fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "watch addresses");
  }
  TRY(impl->poll, loop::Poll::make(loop, impl->fd.get()));
  impl->settle = std::make_unique<loop::Timer>(loop, "addresses");
  impl->settle_ms = settle_ms;
  impl->changed = std::move(changed);
  Impl* raw = impl.get();
  impl->poll->start(true, false, [raw](loop::PollEvents) { raw->drain(); });
  return std::unique_ptr<AddressWatch>(new AddressWatch(std::move(impl)));
}

}  // namespace limpet::daemon

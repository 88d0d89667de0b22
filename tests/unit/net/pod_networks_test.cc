// Against the real kernel, in a network namespace of the test's own.
#include "net/pod_networks.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstdio>

#include "base/unique_fd.h"
#include "net/netlink_socket.h"
#include "space.h"

using namespace limpet;
using namespace limpet::net;

namespace {

NetworkOptions options(const Space& rig) {
  NetworkOptions o;
  o.pods = *parse_cidr("10.42.0.0/16");
  o.local = *parse_cidr("10.42.0.0/24");
  o.lease_dir = rig.dir + "/leases";
  return o;
}

// Runs the loop until the callback came.
template <class T>
struct Wait {
  loop::Loop& loop;
  std::optional<Result<T>> result;
  auto callback() {
    return [this](Result<T> r) {
      result = std::move(r);
      loop.stop();
    };
  }
  Result<T>& get() {
    while (!result) loop.run();
    return *result;
  }
};

bool send_between(const std::string& from_ns, const std::string& to_ns, const char* to, uint16_t port,
                  uint16_t listen_port) {
  const UniqueFd home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const auto socket_in = [&](const std::string& path) {
    const UniqueFd ns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!path.empty()) REQUIRE(setns(ns.get(), CLONE_NEWNET) == 0);
    UniqueFd s(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    REQUIRE(setns(home.get(), CLONE_NEWNET) == 0);
    return s;
  };
  UniqueFd receiver = socket_in(to_ns), sender = socket_in(from_ns);
  const timeval limit{2, 0};
  setsockopt(receiver.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(listen_port);
  REQUIRE(bind(receiver.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
  a.sin_port = htons(port);
  inet_pton(AF_INET, to, &a.sin_addr);
  if (sendto(sender.get(), "ping", 4, 0, reinterpret_cast<sockaddr*>(&a), sizeof a) != 4) return false;
  char buffer[8];
  return recv(receiver.get(), buffer, sizeof buffer, 0) == 4;
}

}  // namespace

TEST_CASE("two pods: attached, reached, re-attached by the next daemon, detached, nothing left") {
  Space& rig = Space::get();
  if (!rig.ok) {
    MESSAGE("needs root and namespaces: not run");
    return;
  }
  loop::Loop loop;
  const std::string ns_a = rig.make_netns("a"), ns_b = rig.make_netns("b");
  {
    PodNetworks networks(loop, options(rig));
    Wait<void> started{loop, {}};
    networks.start(started.callback());
    REQUIRE_MESSAGE(started.get().has_value(), started.get().error().message);

    Wait<std::string> a{loop, {}}, b{loop, {}}, again{loop, {}};
    networks.attach("uid-a", ns_a, {{"UDP", "", 9053, 53}}, a.callback());
    REQUIRE_MESSAGE(a.get().has_value(), a.get().error().message);
    networks.attach("uid-b", ns_b, {}, b.callback());
    REQUIRE(b.get().has_value());
    CHECK(*a.get() == "10.42.0.2");
    CHECK(*b.get() == "10.42.0.3");
    networks.attach("uid-a", ns_a, {{"UDP", "", 9053, 53}}, again.callback());
    CHECK(*again.get() == "10.42.0.2");
    CHECK(send_between(ns_b, ns_a, "10.42.0.2", 53, 53));    // pod to pod
    CHECK(send_between("", ns_a, "10.42.0.2", 54, 54));      // device to pod
    CHECK(send_between(ns_b, ns_a, "10.42.0.1", 9053, 53));  // through the host port
    CHECK(networks.attached() == 2);
  }
  {
    PodNetworks networks(loop, options(rig));
    Wait<void> started{loop, {}};
    networks.start(started.callback());
    REQUIRE(started.get().has_value());
    CHECK(send_between(ns_b, ns_a, "10.42.0.1", 9053, 55 - 2));  // the port survived the restart
    Wait<std::string> c{loop, {}}, bad{loop, {}};
    networks.attach("uid-x", rig.dir + "/none", {}, bad.callback());
    CHECK(bad.get().error().code == Errc::not_found);
    networks.retain({"uid-b"});
    const std::string ns_c = rig.make_netns("c");
    networks.attach("uid-c", ns_c, {}, c.callback());
    REQUIRE(c.get().has_value());
    CHECK(*c.get() == "10.42.0.4");  // not the address that was just released
    auto host = NetlinkSocket::open();
    REQUIRE(host.has_value());
    CHECK_FALSE(find_link(*host, host_interface("uid-a"))->has_value());
    CHECK(find_link(*host, host_interface("uid-b"))->has_value());

    Wait<void> gone{loop, {}}, twice{loop, {}}, all{loop, {}};
    networks.detach("uid-b", gone.callback());
    CHECK(gone.get().has_value());
    networks.detach("uid-b", twice.callback());
    CHECK(twice.get().has_value());
    networks.remove_all(all.callback());
    REQUIRE_MESSAGE(all.get().has_value(), all.get().error().message);
    CHECK_FALSE(find_link(*host, "limpet0")->has_value());
    CHECK(networks.attached() == 0);
  }
}

// Against the real kernel, in a network namespace of the test's own.
#include "net/pod_networks.h"
#include "../skip.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "base/unique_fd.h"
#include "net/netlink_socket.h"
#include "net/nft_table.h"
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
  if (!rig.ok) SKIP_TEST("needs root and namespaces");
  loop::Loop loop;
  const std::string ns_a = rig.make_netns("a"), ns_b = rig.make_netns("b");
  rig.ip({"link", "set", "lo", "up"});
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
    CHECK(send_between("", ns_a, "127.0.0.1", 9053, 53));    // and by the device's loopback
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

namespace {

// The loop turns until f holds; the kernel tells of changes, so that nothing here waits for a time of its
// own.
bool turns_until(loop::Loop& loop, const std::function<bool()>& f) { return loop.run_until(f, 30'000); }

std::string table_now() {
  auto socket = NetlinkSocket::open_netfilter();
  REQUIRE(socket.has_value());
  auto print = table_fingerprint(*socket, "limpet", rule_maps());
  REQUIRE_MESSAGE(print.has_value(), print.error().message);
  return *print;
}

int master_of(const std::string& link) {
  auto host = NetlinkSocket::open();
  REQUIRE(host.has_value());
  const auto found = find_link(*host, link);
  return found && *found ? (*found)->master : -1;
}

int index_of(const std::string& link) {
  auto host = NetlinkSocket::open();
  REQUIRE(host.has_value());
  const auto found = find_link(*host, link);
  return found && *found ? (*found)->index : -1;
}

// Two pods on the network, one of them with a host port.
struct Attached {
  loop::Loop loop;
  std::string ns_a, ns_b;
  std::unique_ptr<PodNetworks> networks;

  explicit Attached(const Space& rig) : ns_a(rig.make_netns("ma")), ns_b(rig.make_netns("mb")) {
    networks = std::make_unique<PodNetworks>(loop, options(rig));
    Wait<void> started{loop, {}};
    networks->start(started.callback());
    REQUIRE_MESSAGE(started.get().has_value(), started.get().error().message);
    Wait<std::string> a{loop, {}}, b{loop, {}};
    networks->attach("uid-a", ns_a, {{"UDP", "", 9053, 53}}, a.callback());
    REQUIRE_MESSAGE(a.get().has_value(), a.get().error().message);
    address_a = *a.get();
    networks->attach("uid-b", ns_b, {}, b.callback());
    REQUIRE(b.get().has_value());
  }
  ~Attached() {
    Wait<void> all{loop, {}};
    networks->remove_all(all.callback());
    CHECK(all.get().has_value());
    networks.reset();
    for (const std::string& ns : {ns_a, ns_b}) {
      umount2(ns.c_str(), MNT_DETACH);
      unlink(ns.c_str());
    }
  }
  std::string address_a;
};

}  // namespace

TEST_CASE("rules that another program takes away come back, without a new pod and without a loop") {
  Space& rig = Space::get();
  if (!rig.ok) SKIP_TEST("needs root and namespaces");
  Attached w(rig);
  const std::string damages[] = {"flush ruleset", "delete table ip limpet",
                                 "flush chain ip limpet postrouting", "flush map ip limpet host_ports"};
  const auto listed = [&] {
    std::string text;
    return rig.run({"nft", "list", "ruleset"}, &text) == 0 ? text : "cannot be listed";
  };
  const std::string whole = listed();
  CHECK(whole.find("udp . 9053 : 10.42.0") != std::string::npos);
  for (const std::string& damage : damages) {
    CAPTURE(damage);
    REQUIRE(run_nft(damage + "\n").has_value());
    CHECK(listed() != whole);
    CHECK(turns_until(w.loop, [&] { return listed() == whole; }));
    CHECK(send_between(w.ns_b, w.ns_a, "10.42.0.1", 9053, 53));
  }
}

TEST_CASE("changes of our own and of others beside our table set nothing again") {
  Space& rig = Space::get();
  if (!rig.ok) SKIP_TEST("needs root and namespaces");
  Attached w(rig);
  const auto quiet = [&] {
    loop::Timer timer(w.loop, "test");
    bool over = false;
    timer.start(1'000, [&] { over = true; });
    CHECK(turns_until(w.loop, [&] { return over; }));
  };
  quiet();
  const std::string settled = table_now();
  REQUIRE(run_nft("add table ip theirs\ndelete table ip theirs\n").has_value());
  Wait<void> gone{w.loop, {}};
  w.networks->detach("uid-b", gone.callback());
  CHECK(gone.get().has_value());
  quiet();
  CHECK(table_now() == settled);
}

TEST_CASE("a bridge or a link that another program deletes comes back with every pod on it") {
  Space& rig = Space::get();
  if (!rig.ok) SKIP_TEST("needs root and namespaces");
  Attached w(rig);
  const std::string a = host_interface("uid-a"), b = host_interface("uid-b");
  const std::vector<std::string> damages[] = {
      {"link", "delete", "limpet0"},      {"link", "delete", a},
      {"link", "set", b, "nomaster"},     {"link", "set", b, "down"},
      {"link", "set", "limpet0", "down"}, {"address", "delete", "10.42.0.1/24", "dev", "limpet0"}};
  for (const auto& damage : damages) {
    CAPTURE(damage[1]);
    rig.ip(damage);
    CHECK(turns_until(w.loop, [&] {
      const int bridge = index_of("limpet0");
      return bridge > 0 && master_of(a) == bridge && master_of(b) == bridge &&
             send_between(w.ns_b, w.ns_a, w.address_a.c_str(), 53, 53) &&
             send_between("", w.ns_a, w.address_a.c_str(), 53, 53);
    }));
  }
}

TEST_CASE("what cannot be set up is told, tried again, and told when it works") {
  Space& rig = Space::get();
  if (!rig.ok) SKIP_TEST("needs root and namespaces");
  loop::Loop loop;
  rig.ip({"link", "add", "limpet0", "type", "veth", "peer", "name", "far0"});
  PodNetworks networks(loop, options(rig));
  std::vector<std::string> told;
  networks.on_problem([&](const std::string& problem) { told.push_back(problem); });
  Wait<void> started{loop, {}};
  networks.start(started.callback());
  REQUIRE_FALSE(started.get().has_value());
  CHECK(started.get().error().message.find("is no bridge") != std::string::npos);
  rig.ip({"link", "delete", "limpet0"});
  CHECK(turns_until(loop, [&] { return !told.empty(); }));
  CHECK(told == std::vector<std::string>{""});
  CHECK(index_of("limpet0") > 0);
  CHECK_FALSE(table_now().empty());
  Wait<void> all{loop, {}};
  networks.remove_all(all.callback());
  CHECK(all.get().has_value());
}

TEST_CASE("without a pod network nothing is made, what was there goes, and pods hear why they wait") {
  Space& rig = Space::get();
  if (!rig.ok) SKIP_TEST("needs root and namespaces");
  loop::Loop loop;
  const std::string ns = rig.make_netns("none");
  NetworkOptions with = options(rig), without = options(rig);
  without.enabled = false;
  for (const bool before : {true, false}) {
    CAPTURE(before);
    if (before) {
      PodNetworks networks(loop, with);
      Wait<void> started{loop, {}};
      networks.start(started.callback());
      REQUIRE(started.get().has_value());
      Wait<std::string> a{loop, {}};
      networks.attach("uid-a", ns, {{"UDP", "", 9053, 53}}, a.callback());
      REQUIRE(a.get().has_value());
    }
    PodNetworks networks(loop, without);
    Wait<void> started{loop, {}};
    networks.start(started.callback());
    CHECK(started.get().has_value());
    CHECK(index_of("limpet0") == -1);
    CHECK(index_of(host_interface("uid-a")) == -1);
    CHECK(table_now().empty());
    CHECK(access(without.lease_dir.c_str(), F_OK) != 0);
    Wait<std::string> a{loop, {}};
    networks.attach("uid-a", ns, {}, a.callback());
    REQUIRE_FALSE(a.get().has_value());
    CHECK(a.get().error().message.find("network.mode is none") != std::string::npos);
    Wait<void> gone{loop, {}};
    networks.detach("uid-a", gone.callback());
    CHECK(gone.get().has_value());
  }
  umount2(ns.c_str(), MNT_DETACH);
  unlink(ns.c_str());
}

TEST_CASE("pod links have the MTU of the way out") {
  Space& rig = Space::get();
  if (!rig.ok) SKIP_TEST("needs root and namespaces");
  rig.ip({"link", "add", "up0", "mtu", "1400", "type", "veth", "peer", "name", "far0"});
  rig.ip({"link", "set", "far0", "up"});
  rig.ip({"address", "add", "192.168.77.5/24", "dev", "up0"});
  rig.ip({"link", "set", "up0", "up"});
  rig.ip({"route", "add", "default", "via", "192.168.77.1"});
  {
    Attached w(rig);
    auto host = NetlinkSocket::open();
    REQUIRE(host.has_value());
    for (const std::string& link : {std::string("limpet0"), host_interface("uid-a")}) {
      const auto found = find_link(*host, link);
      CHECK((found && *found && (*found)->mtu == 1400));
    }
  }
  rig.ip({"link", "delete", "up0"});
}

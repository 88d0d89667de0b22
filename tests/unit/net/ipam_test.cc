#include "net/ipam.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/atomic_file.h"
#include "base/random.h"
#include "net/leases.h"

using namespace limpet;
using namespace limpet::net;

namespace {

Cidr range(const char* text) { return *parse_cidr(text); }

struct TempDir {
  std::string path;
  TempDir() {
    char name[] = "/tmp/limpet-leases-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() {
    for (int i = 0; i < 256; i++) unlink((path + "/10.42.0." + std::to_string(i)).c_str());
    unlink((path + "/last").c_str());
    rmdir(path.c_str());
  }
};

}  // namespace

TEST_CASE("ranges: what is one, and what is said otherwise") {
  struct Row {
    const char* text;
    bool ok;
  };
  const Row rows[] = {{"10.42.0.0/24", true},  {"0.0.0.0/0", true},   {"10.42.0.0/32", true},
                      {"10.42.0.1/24", false}, {"10.42.0.0", false},  {"10.42.0.0/33", false},
                      {"10.42.0.0/", false},   {"10.42.0/24", false}, {"10.42.0.0/2x", false},
                      {"10.42.0.0/-1", false}, {"::/64", false},      {"", false}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parse_cidr(row.text).has_value() == row.ok);
  }
  CHECK(range("10.42.0.0/24").contains(*parse_ipv4("10.42.0.255")));
  CHECK_FALSE(range("10.42.0.0/24").contains(*parse_ipv4("10.42.1.0")));
  CHECK(range("0.0.0.0/0").contains(*parse_ipv4("255.255.255.255")));
}

TEST_CASE("addresses go round before one is used again") {
  AddressPool pool(range("10.42.0.0/29"));  // .1 bridge, .2 to .6 pods, .7 broadcast
  CHECK(pool.gateway().text() == "10.42.0.1");
  CHECK(pool.allocate("a")->text() == "10.42.0.2");
  CHECK(pool.allocate("a")->text() == "10.42.0.2");
  CHECK(pool.allocate("b")->text() == "10.42.0.3");
  CHECK(pool.release("a"));
  CHECK_FALSE(pool.release("a"));
  CHECK(pool.allocate("c")->text() == "10.42.0.4");
  CHECK(pool.allocate("d")->text() == "10.42.0.5");
  CHECK(pool.allocate("e")->text() == "10.42.0.6");
  CHECK(pool.allocate("f")->text() == "10.42.0.2");
  const auto none = pool.allocate("g");
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code == Errc::exhausted);
}

TEST_CASE("random use never gives an address twice, nor the reserved ones") {
  SeededRandom random(7);
  AddressPool pool(range("10.42.0.0/28"));
  std::set<std::string> live;
  for (int step = 0; step < 5000; step++) {
    const std::string owner = "pod" + std::to_string(random.below(20));
    if (random.below(2)) {
      if (pool.allocate(owner)) live.insert(owner);
    } else {
      CHECK(pool.release(owner) == (live.erase(owner) > 0));
    }
    std::set<uint32_t> seen;
    for (const auto& [who, address] : pool.owners()) {
      CHECK(seen.insert(address.host_order).second);
      CHECK(address > pool.gateway());
      CHECK(address.text() != "10.42.0.15");
      CHECK(live.contains(who));
    }
    CHECK(seen.size() == live.size());
  }
}

TEST_CASE("leases survive a restart of the daemon, and what is none of ours goes") {
  TempDir dir;
  const Ipv4 a = *parse_ipv4("10.42.0.9");
  const Lease lease{"uid-1", {{"tcp", "", 8080, a, 80}, {"udp", "192.0.2.1", 53, a, 53}}};
  REQUIRE(write_lease(dir.path, a, lease).has_value());
  REQUIRE(write_lease(dir.path, *parse_ipv4("10.42.0.11"), {"uid-2", {}}).has_value());
  REQUIRE(write_file_atomic(dir.path + "/10.42.0.12", "{\"pod\":", 0600).has_value());
  REQUIRE(write_file_atomic(dir.path + "/10.42.0.1", R"({"pod":"thief of the gateway"})", 0600).has_value());
  AddressPool pool(range("10.42.0.0/24"));
  const auto leases = load_leases(dir.path, &pool);
  REQUIRE(leases.has_value());
  CHECK(leases->size() == 2);
  CHECK(leases->at(a).pod_uid == "uid-1");
  CHECK(leases->at(a).ports == lease.ports);
  CHECK(pool.find("uid-1")->text() == "10.42.0.9");
  CHECK(pool.allocate("uid-3")->text() == "10.42.0.12");  // behind the last given
  CHECK(access((dir.path + "/10.42.0.1").c_str(), F_OK) != 0);
  REQUIRE(remove_lease(dir.path, a).has_value());
  CHECK(remove_lease(dir.path, a).has_value());  // twice is no error
  AddressPool again(range("10.42.0.0/24"));
  CHECK(load_leases(dir.path, &again)->size() == 1);
}

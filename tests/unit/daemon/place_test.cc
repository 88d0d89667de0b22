// A join that is cut anywhere leaves the device what it was, or what it becomes with the next start.
#include "daemon/place.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "../temp_dir.h"
#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/tree.h"
#include "pki/certificate.h"
#include "pki/device.h"

namespace limpet::daemon::test {
namespace {

constexpr int64_t now = 1'800'000'000;

std::string content(const std::string& path) { return read_file(path, 1 << 20).value_or("<none>"); }
void put(const std::string& path, std::string_view text) {
  REQUIRE(write_file_atomic(path, text, 0600).has_value());
}

Place place_of(bool agent) {
  Place place;
  place.cluster = std::string("0123456789abcdef");
  place.agent = agent;
  place.member = agent ? 0 : 7;
  place.servers = {{0xfedcba9876543210, "s1", {"192.0.2.1:6444"}}};
  place.api = {"192.0.2.1:6443"};
  return place;
}

// The dataDir of a device that was something before.
struct Disk : limpet::test::TempDir {
  SystemRandom random;

  Disk() {
    REQUIRE(make_directories(path + "/pki", 0700).has_value());
    for (const char* file : {"/limpet.db", "/limpet.db-wal", "/limpet.db-shm", "/limpet.db.made",
                             "/servers.json", "/node.db", "/pki/ca.crt", "/pki/node.key"})
      put(path + file, "old");
    put(path + "/pki/device.key", "seal");
    REQUIRE(write_order(path, {"https://192.0.2.1:6443", "t", false}).has_value());
  }
  ~Disk() { failpoint::arm(""); }

  // What a server answers, for the key that this device made.
  pki::Joined joined() {
    auto key = pki::joining_key(join_directory(path) + "/pki", random);
    REQUIRE(key.has_value());
    auto authority_key = pki::PrivateKey::generate(random);
    REQUIRE(authority_key.has_value());
    auto ca =
        pki::make_ca("limpet-ca", *authority_key, pki::valid_from({now, 0}, pki::ca_life_seconds), random);
    REQUIRE(ca.has_value());
    const pki::Authority authority{*ca, std::move(*authority_key)};
    const pki::DeviceId id{"edge-1", false};
    auto device = pki::issue(authority, key->spki(), pki::device_subject(id), pki::device_names(id),
                             pki::Use::peer, pki::valid_from({now, 0}, pki::leaf_life_seconds), random);
    REQUIRE(device.has_value());
    return {*ca, "", "", *device};
  }

  bool is_old() const {
    return content(path + "/limpet.db") == "old" && content(path + "/limpet.db.made") == "old" &&
           content(path + "/pki/ca.crt") == "old" && content(path + "/pki/device.key") == "seal" &&
           content(path + "/servers.json") == "old" && !read_place(path).value();
  }
  void check_new(const Place& place, const pki::Joined& joined) const {
    CHECK_EQ(list_directory(path), std::vector<std::string>{"cluster.json", "node.db", "pki"});
    CHECK_EQ(list_directory(path + "/pki"),
             std::vector<std::string>{"ca.crt", "device.key", "node.crt", "node.key"});
    CHECK_EQ(content(path + "/pki/ca.crt"), joined.ca_pem);
    CHECK_EQ(content(path + "/pki/node.crt"), joined.device_pem);
    CHECK_EQ(content(path + "/pki/device.key"), "seal");
    CHECK_EQ(content(path + "/node.db"), "old");
    CHECK(read_place(path).value() == place);
    CHECK_FALSE(has_own_store(path));
  }
  // Wherever it is at the moment.
  bool has_seal_key() const {
    return content(path + "/pki/device.key") == "seal" || content(path + "/joining/pki/device.key") == "seal";
  }
};

}  // namespace

TEST_CASE("place: what a device was let in as is read as it was written, and damage is told") {
  for (const bool agent : {false, true}) {
    const Place place = place_of(agent);
    const auto back = decode_place(encode(place));
    REQUIRE(back.has_value());
    CHECK(*back == place);
  }
  const std::pair<const char*, const char*> rows[] = {
      {"", ""},
      {R"({"version":2,"cluster":"30313233343536373839616263646566"})", "another version"},
      {R"({"version":1,"cluster":"303132"})", "names no cluster"},
      {R"({"version":1,"cluster":"zz313233343536373839616263646566"})", "names no cluster"},
      {R"({"version":1,"cluster":"3031323334353637383961626364656"})", "names no cluster"},
      {R"({"version":1,"cluster":"3031323334353637383961626364656F"})", "names no cluster"},
      {R"({"version":1,"cluster":"3031323334353637383961626364656667"})", "names no cluster"},
      {R"({"version":1,"cluster":"30313233343536373839616263646566","member":"x"})", "names no member"},
      {R"({"version":1,"cluster":"30313233343536373839616263646566","member":"1"})", "names no member"},
      {R"({"version":1,"cluster":"30313233343536373839616263646566","member":"000000000000000A"})",
       "names no member"},
      {R"({"version":1,"cluster":"30313233343536373839616263646566","servers":[{"name":"a"}]})",
       "a server without an id"},
  };
  for (const auto& [text, why] : rows) {
    CAPTURE(text);
    const auto place = decode_place(text);
    REQUIRE_FALSE(place.has_value());
    CHECK(place.error().message.find(why) != std::string::npos);
  }
}

TEST_CASE("place: the role is what was begun, ordered, joined as, configured, in this order") {
  Disk disk;
  CHECK_EQ(role_of(disk.path, "agent"), "server");  // ordered
  REQUIRE(drop_order(disk.path).has_value());
  CHECK_FALSE(read_order(disk.path).value().has_value());
  CHECK_EQ(role_of(disk.path, "agent"), "agent");
  REQUIRE(write_place(disk.path, place_of(false)).has_value());
  CHECK_EQ(role_of(disk.path, "agent"), "server");
  REQUIRE(write_order(disk.path, {"https://192.0.2.1:6443", "t", true}).has_value());
  CHECK(read_order(disk.path).value() == JoinOrder{"https://192.0.2.1:6443", "t", true});
  CHECK_EQ(role_of(disk.path, "server"), "agent");
  REQUIRE(make_directories(disk.path + "/joining", 0700).has_value());
  REQUIRE(write_place(disk.path + "/joining", place_of(false)).has_value());
  CHECK_EQ(role_of(disk.path, "agent"), "server");
  put(disk.path + "/join.json", "{");
  CHECK_FALSE(read_order(disk.path).has_value());
}

TEST_CASE("place: as long as a join is not staged whole nothing of the device changes") {
  for (const char* point :
       {"daemon.place", "daemon.place.rename", "daemon.place.synced", "daemon.join.staged",
        "pki.join_ca.write", "pki.join_device.write", "pki.join.rename", "pki.join.synced"}) {
    CAPTURE(point);
    Disk disk;
    const pki::Joined joined = disk.joined();
    failpoint::arm(std::string(point) + "=error");
    REQUIRE_FALSE(stage_join(disk.path, place_of(true), joined, disk.random).has_value());
    failpoint::arm("");
    CHECK_FALSE(finish_join(disk.path).value());
    CHECK(disk.is_old());
    // The device asks again, with the key that it had.
    REQUIRE(stage_join(disk.path, place_of(true), joined, disk.random).has_value());
    CHECK(disk.is_old());
    CHECK(finish_join(disk.path).value());
    disk.check_new(place_of(true), joined);
  }
}

TEST_CASE("place: a join that is staged is finished, wherever a start is cut") {
  const char* points[] = {"daemon.join.renamed",  "daemon.join.key",      "daemon.join.remove@1",
                          "daemon.join.remove@2", "daemon.join.remove@3", "daemon.join.remove@4",
                          "daemon.join.remove@5", "daemon.join.removed",  "daemon.join.pki",
                          "daemon.join.cluster",  "daemon.join.order",    "daemon.join.end"};
  for (const std::string point : points) {
    CAPTURE(point);
    Disk disk;
    const pki::Joined joined = disk.joined();
    const size_t at = std::min(point.find('@'), point.size());
    failpoint::arm(point.substr(0, at) + "=error" + point.substr(at));
    const bool staged = stage_join(disk.path, place_of(true), joined, disk.random).has_value();
    CHECK_EQ(staged, point != "daemon.join.renamed");
    // Once more cut at the same place, which is not passed the same way the second time.
    for (int i = 0; i < 2 && staged; i++) {
      const auto finished = finish_join(disk.path);
      if (i == 0) CHECK_FALSE(finished.has_value());
      CHECK(disk.has_seal_key());
      CHECK_EQ(role_of(disk.path, "server"), "agent");
    }
    failpoint::arm("");
    (void)finish_join(disk.path).value();
    disk.check_new(place_of(true), joined);
    CHECK_FALSE(finish_join(disk.path).value());
  }
}

TEST_CASE("place: a second join takes the place of one that was staged and not finished") {
  Disk disk;
  const pki::Joined first = disk.joined();
  REQUIRE(stage_join(disk.path, place_of(true), first, disk.random).has_value());
  const pki::Joined second = disk.joined();
  REQUIRE(stage_join(disk.path, place_of(true), second, disk.random).has_value());
  CHECK(finish_join(disk.path).value());
  disk.check_new(place_of(true), second);
}

}  // namespace limpet::daemon::test

// limpet cluster recover: who is given up, and what is written of it.
#include "cli/recovery.h"

#include <doctest/doctest.h>

#include "base/random.h"
#include "base/sha256.h"
#include "pki/key.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

constexpr WallTime now{1'780'000'000, 0};

cluster::Device server(const char* name, raft::MemberId member, Random& random) {
  cluster::Device d;
  d.name = name;
  d.role = cluster::Role::server;
  d.member = member;
  d.addresses = {"192.0.2.1:6444"};
  d.spki = pki::PrivateKey::generate(random)->spki();
  d.version = "0.1.0";
  return d;
}

store::Item item(std::string key, std::string value) {
  return {std::move(key), 1, 1, share(std::move(value))};
}

// "+KEY" or "-KEY", sorted.
std::string text_of(const std::vector<store::Op>& ops) {
  std::set<std::string> lines;
  for (const store::Op& op : ops)
    CHECK(lines.insert((op.type == store::Op::Type::put ? "+" : "-") + op.key).second);
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

}  // namespace

TEST_CASE("the one that is left is a new member, and the others are none any more") {
  SystemRandom random;
  const cluster::Device own = server("edge-3", 3, random), one = server("edge-1", 1, random);
  const std::vector<store::Item> items = {
      item("limpet/data-key/4/edge-1", "wrap"),       item("limpet/data-key/4/edge-3", "wrap"),
      item("limpet/data-key/4/other-edge-1", "wrap"), item("limpet/devices/edge-1", encode(one)),
      item(cluster::member_key(1), encode(one)),      item(cluster::member_key(3), encode(own)),
  };
  const auto servers = servers_of(items, 3);
  REQUIRE(servers);
  CHECK(servers->own.name == "edge-3");
  REQUIRE(servers->others.size() == 1);
  CHECK(servers->others[0].name == "edge-1");

  const auto ops = give_up_others(items, 3, 0xabc, now);
  REQUIRE(ops);
  const std::string denied = cluster::denied_key(sha256_hex(one.spki));
  CHECK(text_of(*ops) == "+" + denied +
                             "\n+limpet/devices/edge-1\n+limpet/devices/edge-3\n"
                             "+limpet/members/0000000000000abc\n-limpet/data-key/4/edge-1\n"
                             "-limpet/members/0000000000000001\n-limpet/members/0000000000000003\n"
                             "-nodes/edge-1\n");
  for (const store::Op& op : *ops) {
    CHECK_FALSE(op.expect.has_value());
    if (op.key == "limpet/devices/edge-1")
      CHECK(cluster::decode_device(op.value)->state == cluster::DeviceState::removed);
    if (op.key == cluster::member_key(0xabc)) CHECK(cluster::decode_device(op.value)->member == 0xabc);
    if (op.key == denied)
      CHECK(op.value == R"({"name":"edge-1","state":"removed","at":"2026-05-28T20:26:40Z"})");
  }
}

TEST_CASE("who has nothing to recover is told") {
  SystemRandom random;
  const cluster::Device own = server("edge-3", 3, random), one = server("edge-1", 1, random);
  CHECK(servers_of({}, 3).error().message.find("no other servers") != std::string::npos);
  CHECK(servers_of({item(cluster::member_key(3), encode(own))}, 3).error().code == Errc::not_found);
  CHECK(servers_of({item(cluster::member_key(1), encode(one))}, 3).error().message.find("was removed") !=
        std::string::npos);
  CHECK(give_up_others({item(cluster::member_key(1), "{}")}, 3, 4, now).error().code == Errc::corrupt);
}

TEST_CASE("a cluster that can decide is not lost") {
  struct Row {
    raft::Membership membership;
    std::set<raft::MemberId> answering;
    bool can;
  };
  const Row rows[] = {
      {{{1, 2, 3}, {}, {}}, {}, false},
      {{{1, 2, 3}, {}, {}}, {1}, true},
      {{{1, 2, 3, 4, 5}, {}, {}}, {1}, false},
      {{{1, 2, 3, 4, 5}, {}, {}}, {1, 2}, true},
      {{{1, 2}, {}, {3}}, {1}, false},  // this one does not vote
      {{{1}, {}, {3}}, {1}, true},
      {{{1, 2, 3}, {}, {7, 8}}, {7, 8}, false},  // nor do learners
      {{{2, 3}, {3, 4, 5}, {}}, {2}, false},     // both groups are wanted
      {{{2, 3}, {3, 4, 5}, {}}, {2, 4}, true},
  };
  for (const Row& row : rows) {
    CAPTURE(raft::to_string(row.membership));
    CAPTURE(row.answering.size());
    CHECK(can_decide(row.membership, 3, row.answering) == row.can);
  }
}

#include "raft/membership.h"

#include <doctest/doctest.h>

#include <map>

#include "base/random.h"

using namespace limpet;
using namespace limpet::raft;

namespace {

struct Row {
  Membership membership;
  std::map<MemberId, uint64_t> match;
  uint64_t agreed;
};

// The same by trying every index from above, as slowly as it can be said.
uint64_t agreed_naively(const Membership& m, const std::map<MemberId, uint64_t>& match) {
  const auto majority_has = [&](const std::vector<MemberId>& voters, uint64_t index) {
    size_t have = 0;
    for (const MemberId id : voters) have += match.contains(id) && match.at(id) >= index;
    return 2 * have > voters.size();
  };
  for (uint64_t index = 20; index > 0; --index) {
    if (majority_has(m.voters, index) && (m.outgoing.empty() || majority_has(m.outgoing, index)))
      return index;
  }
  return 0;
}

uint64_t agreed(const Membership& m, const std::map<MemberId, uint64_t>& match) {
  return reached(m, [&](MemberId id) { return match.contains(id) ? match.at(id) : 0; });
}

std::vector<MemberId> some_of(Random& random, MemberId most) {
  std::vector<MemberId> out;
  for (MemberId id = 1; id <= most; ++id) {
    if (random.below(2)) out.push_back(id);
  }
  return out;
}

}  // namespace

TEST_CASE("what a majority has reached") {
  const Row rows[] = {
      {{{}, {}, {}}, {}, 0},
      {{{1}, {}, {}}, {{1, 7}}, 7},
      {{{1, 2}, {}, {}}, {{1, 7}, {2, 3}}, 3},
      {{{1, 2, 3}, {}, {}}, {{1, 7}, {2, 3}}, 3},
      {{{1, 2, 3}, {}, {}}, {{1, 7}}, 0},
      {{{1, 2, 3, 4}, {}, {}}, {{1, 9}, {2, 8}, {3, 7}, {4, 6}}, 7},
      {{{1, 2, 3, 4, 5}, {}, {}}, {{1, 9}, {2, 8}, {3, 7}}, 7},
      {{{1, 2, 3}, {}, {4}}, {{1, 7}, {4, 7}}, 0},                        // a learner does not count
      {{{2, 3, 4}, {1, 2, 3}, {}}, {{1, 9}, {2, 9}, {3, 4}, {4, 4}}, 4},  // the lower half decides
      {{{4}, {1, 2, 3}, {}}, {{4, 9}, {1, 5}}, 0},
      {{{4}, {1, 2, 3}, {}}, {{1, 9}, {2, 9}, {3, 9}}, 0},
  };
  for (const Row& row : rows) {
    CAPTURE(to_string(row.membership));
    CHECK(agreed(row.membership, row.match) == row.agreed);
    CHECK(agreed_naively(row.membership, row.match) == row.agreed);
  }
}

TEST_CASE("majorities agree with a naive count for random groups") {
  SeededRandom random(7);
  for (int i = 0; i < 20000; ++i) {
    Membership m{some_of(random, 9), {}, {}};
    if (m.voters.empty()) continue;
    if (random.below(2)) m.outgoing = some_of(random, 9);
    std::map<MemberId, uint64_t> match;
    for (MemberId id = 1; id <= 9; ++id) match[id] = random.below(12);
    REQUIRE_MESSAGE(agreed(m, match) == agreed_naively(m, match), to_string(m));
  }
}

TEST_CASE("two majorities of neighbouring memberships have a member in common") {
  // Otherwise two leaders of one term would be possible between them (paper figure 10).
  SeededRandom random(3);
  for (int i = 0; i < 5000; ++i) {
    Membership from{some_of(random, 6), {}, {}}, to{some_of(random, 6), {}, {}};
    if (from.voters.empty() || to.voters.empty()) continue;
    const Membership joint = enter(from, to);
    const std::vector<MemberId> side = some_of(random, 6);
    const auto in = [&](MemberId id) { return std::binary_search(side.begin(), side.end(), id); };
    const auto out = [&](MemberId id) { return !in(id); };
    for (const Membership& other : {from, joint, leave(joint)}) {
      if (joint.joint() || other == joint) REQUIRE_FALSE((quorum(joint, in) && quorum(other, out)));
    }
  }
}

TEST_CASE("entering and leaving a joint membership") {
  const Membership from{{1, 2, 3}, {}, {4}};
  CHECK(enter(from, {{1, 2, 4}, {}, {}}) == Membership{{1, 2, 4}, {1, 2, 3}, {}});
  CHECK(enter(from, {{1, 2}, {}, {3, 4}}) == Membership{{1, 2}, {1, 2, 3}, {3, 4}});
  CHECK(leave({{1, 2}, {1, 2, 3}, {3, 4}}) == Membership{{1, 2}, {}, {3, 4}});
  CHECK_FALSE(enter(from, {{1, 2, 3}, {}, {4, 5}}).joint());  // no voter changes: one step
}

TEST_CASE("memberships that are none") {
  CHECK(check({{1}, {}, {}}));
  CHECK(check({{1, 2}, {1, 3}, {3}}));
  CHECK_FALSE(check({{}, {}, {}}));
  CHECK_FALSE(check({{}, {1}, {}}));
  CHECK_FALSE(check({{0, 1}, {}, {}}));
  CHECK_FALSE(check({{2, 1}, {}, {}}));
  CHECK_FALSE(check({{1, 1}, {}, {}}));
  CHECK_FALSE(check({{1}, {}, {1}}));
  Membership many;
  for (MemberId id = 1; id <= kMaxMembers + 1; ++id) many.voters.push_back(id);
  CHECK_FALSE(check(many));
}

TEST_CASE("a membership's bytes") {
  const Membership m{{1, 0xfedcba9876543210}, {300}, {7}};
  const std::string bytes = encode(m);
  CHECK(decode_membership(bytes).value() == m);
  for (size_t i = 0; i < bytes.size(); ++i) CHECK_FALSE(decode_membership(bytes.substr(0, i)));
  CHECK_FALSE(decode_membership(bytes + '\0'));
  CHECK(decode_membership("\2" + bytes.substr(1)).error().code == Errc::unsupported);
  CHECK(decode_membership(std::string("\1\0\0\0", 4)).error().code == Errc::corrupt);      // no voter
  CHECK(decode_membership(std::string("\1\1\0\0\0", 5)).error().code == Errc::corrupt);    // the id 0
  CHECK(decode_membership(std::string("\1\xff\xff\3", 4)).error().code == Errc::corrupt);  // 65,535 of them
}

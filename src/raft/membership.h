// Who belongs to the group, and the arithmetic of majorities. Pure.
//
// A change of voters passes through a joint membership (paper section 6): until it is committed, every
// decision needs a majority of the old voters and one of the new.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace limpet::raft {

// A member and its incarnation in one: a device that lost its disk comes back with another id, so that it
// cannot vote again as its old self.
using MemberId = uint64_t;  // 0: nobody

constexpr size_t kMaxMembers = 256;

struct Membership {
  std::vector<MemberId> voters;    // sorted, each once, as in all three
  std::vector<MemberId> outgoing;  // not empty: joint, and these are the voters of before
  std::vector<MemberId> learners;  // get the log, do not count; may still be among outgoing

  bool operator==(const Membership&) const = default;
  bool joint() const { return !outgoing.empty(); }
  bool votes(MemberId id) const;
  bool has(MemberId id) const;
  bool sole_voter(MemberId id) const { return !joint() && voters.size() == 1 && voters[0] == id; }
  std::vector<MemberId> all() const;  // sorted, each once
};

// `invalid_argument`: no voter, a voter that is a learner, too many, not sorted, the id 0.
Result<> check(const Membership& membership);

// What must be in the log between the two: joint when the voters differ, else `to` itself.
Membership enter(const Membership& from, const Membership& to);
Membership leave(const Membership& joint);

// Shape (version 1): version byte, then three times a varint count and that many varint ids: voters,
// outgoing, learners. `unsupported`: a newer version. `corrupt`: anything else that encode() would not have
// made.
std::string encode(const Membership& membership);
Result<Membership> decode_membership(std::string_view bytes);

std::string to_string(const Membership& membership);  // "(1 2 3)&&(1 2) learners (4)"

// ---- majorities ----

inline size_t majority(size_t voters) { return voters / 2 + 1; }

// The highest value that a majority of these has reached; `value` gives each one's.
template <class Value>
uint64_t reached_by_majority(const std::vector<MemberId>& voters, const Value& value) {
  std::vector<uint64_t> values;
  values.reserve(voters.size());
  for (const MemberId id : voters) values.push_back(value(id));
  const size_t place = values.size() - majority(values.size());
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(place), values.end());
  return values[place];
}

// The same for each half of a joint membership. 0 when there are no voters.
template <class Value>
uint64_t reached(const Membership& membership, const Value& value) {
  if (membership.voters.empty()) return 0;
  const uint64_t now = reached_by_majority(membership.voters, value);
  return membership.joint() ? std::min(now, reached_by_majority(membership.outgoing, value)) : now;
}

// Whether a majority (of each half) satisfies `holds`.
template <class Holds>
bool quorum(const Membership& membership, const Holds& holds) {
  return reached(membership, [&](MemberId id) -> uint64_t { return holds(id) ? 1 : 0; }) == 1;
}

}  // namespace limpet::raft

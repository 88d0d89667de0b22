#include "store/group.h"

#include <algorithm>

#include "base/varint.h"

namespace limpet::store {
namespace {
constexpr uint8_t kVersion = 1;
constexpr size_t kClusterBytes = 16;
constexpr size_t kMaxMembership = 16 << 10;
}  // namespace

// Paper figure 2 begins with nothing at all. Here the first state counts as an entry that was agreed on in
// term one, so that whoever joins is told it: see raft::Start.
Group Group::begin(Random& random, raft::Index index) {
  Group g;
  g.cluster.resize(kClusterBytes);
  random.fill(g.cluster.data(), g.cluster.size());
  g.self = random.u64() >> 1 | 1;
  g.hard_state.term = 1;
  g.applied = {std::max<raft::Index>(index, 1), 1};
  g.membership.voters = {g.self};
  g.membership_index = g.applied.index;
  return g;
}

Group Group::wait(Random& random, std::string cluster, raft::MemberId self) {
  Group g;
  g.cluster = std::move(cluster);
  g.cluster.resize(kClusterBytes);
  g.self = self != 0 ? self : random.u64() >> 1 | 1;
  return g;
}

std::string encode(const Group& g) {
  std::string out;
  out.push_back(static_cast<char>(kVersion));
  out.append(g.cluster);
  for (const uint64_t v :
       {g.self, g.hard_state.term, g.hard_state.vote, g.applied.index, g.applied.term, g.membership_index}) {
    put_varint(out, v);
  }
  put_bytes(out, g.membership.voters.empty() ? "" : raft::encode(g.membership));
  return out;
}

Result<Group> decode_group(std::string_view bytes) {
  if (!bytes.empty() && static_cast<uint8_t>(bytes[0]) > kVersion) {
    return fail(Errc::unsupported, strf("the group's record has version %d, this limpet knows %d",
                                        static_cast<uint8_t>(bytes[0]), kVersion));
  }
  const auto corrupt = [] { return fail(Errc::corrupt, "the record of the raft group is damaged"); };
  if (bytes.size() < 1 + kClusterBytes || static_cast<uint8_t>(bytes[0]) != kVersion) return corrupt();
  Group g;
  g.cluster = bytes.substr(1, kClusterBytes);
  ByteReader in(bytes.substr(1 + kClusterBytes));
  for (uint64_t* v : {&g.self, &g.hard_state.term, &g.hard_state.vote, &g.applied.index, &g.applied.term,
                      &g.membership_index}) {
    *v = in.varint();
  }
  const std::string_view members = in.bytes(kMaxMembership);
  if (!in.ok() || !in.at_end() || g.self == 0) return corrupt();
  // A member that waits to be told by a leader knows nobody.
  if (members.empty()) return g;
  TRY(g.membership, raft::decode_membership(members));
  return g;
}

}  // namespace limpet::store

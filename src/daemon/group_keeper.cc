#include "daemon/group_keeper.h"

#include "base/log.h"
#include "cluster/voters.h"
#include "daemon/member_records.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {
constexpr int64_t every_ms = 1'000;
}  // namespace

GroupKeeper::GroupKeeper(Device& device) : device_(device), timer_(device.loop, "group") { look(); }

void GroupKeeper::look() {
  // A cluster of one has no records, and nothing to look at.
  if (!device_.members->known() || device_.members->all().empty()) return;
  timer_.start(every_ms, [this] { look(); });
  cluster::VoterOptions options;
  options.most_voters = static_cast<size_t>(device_.config.cluster.voters);
  options.replace_after_s = device_.config.cluster.replace_lost_after_ms / 1000;
  const auto change = cluster::wanted_change(group(), options);
  if (!change) return;
  store::Consensus& consensus = device_.store->consensus();
  if (change->transfer_to != 0) {
    log::notice("this server hands over the lead", {{"why", change->why}});
    (void)consensus.transfer(change->transfer_to);  // asked again when nothing came of it
  } else if (auto asked = consensus.reconfigure(*change->membership); !asked) {
    log::debug("the group of servers cannot change yet", {{"error", asked.error()}});
  } else {
    log::notice("the group of servers changes",
                {{"to", raft::to_string(*change->membership)}, {"why", change->why}});
  }
}

cluster::Group GroupKeeper::group() {
  const raft::Status status = device_.store->consensus().status();
  const raft::MemberId self = device_.store->consensus().self();
  cluster::Group g{.membership = status.membership, .leader = self, .last = status.last, .members = {}};
  std::map<raft::MemberId, cluster::GroupMember> members;
  for (const auto& [id, record] : device_.members->all()) members[id] = {.id = id};
  for (const raft::MemberId id : status.membership.all()) {
    members.try_emplace(id, cluster::GroupMember{.id = id, .wanted = false});
  }
  const int64_t now = device_.loop.now_ms();
  for (const raft::PeerStatus& p : status.peers) {
    cluster::GroupMember& m = members[p.id];
    m.match = p.match;
    const auto heard = heard_.try_emplace(p.id, now).first;
    if (p.active) heard->second = now;
    m.active = now - heard->second < silent_after_ms();
    m.silent_s = m.active ? 0 : (now - heard->second) / 1000;
  }
  if (members.contains(self)) members[self].active = true, members[self].match = status.last;
  for (auto& [id, m] : members) {
    m.id = id;
    g.members.push_back(m);
  }
  return g;
}

// The group itself counts who answered since its last check of the quorum, which is a moment ago at times.
int64_t GroupKeeper::silent_after_ms() const {
  constexpr int64_t lan_ms = 3'000, metered_ms = 60'000;
  return device_.config.cluster.profile == "metered" ? metered_ms : lan_ms;
}

}  // namespace limpet::daemon

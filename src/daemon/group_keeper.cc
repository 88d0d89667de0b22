#include "daemon/group_keeper.h"

#include <algorithm>

#include "base/log.h"
#include "daemon/departures.h"
#include "daemon/member_records.h"
#include "peer/peers.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {
constexpr int64_t every_ms = 1'000;
}  // namespace

int64_t silent_after_ms(const Config& config) {
  constexpr int64_t lan_ms = 3'000, metered_ms = 60'000;
  return config.cluster.profile == "metered" ? metered_ms : lan_ms;
}

bool in_contact(const Device& device, raft::MemberId member) {
  if (member == device.store->consensus().self()) return true;
  const int64_t now = device.loop.now_ms(), limit = silent_after_ms(device.config);
  const peer::PeersStats stats = device.peers->stats();
  return std::any_of(stats.peers.begin(), stats.peers.end(), [&](const peer::PeerStats& p) {
    return p.member == member && p.last_contact_ms >= 0 && now - p.last_contact_ms < limit;
  });
}

GroupKeeper::GroupKeeper(Device& device, uint64_t term)
    : device_(device), term_(term), timer_(device.loop, "group") {
  look();
}

// From the store itself: a live copy may be a moment behind, and whoever is missing there is no server that
// left.
void GroupKeeper::look() {
  device_.store->durable().list(std::string(cluster::members_prefix), "", 0, 0,
                                [this, here = std::weak_ptr<char>(alive_)](Result<store::Page> page) {
                                  if (here.expired() || !page) return;
                                  std::vector<cluster::Device> records;
                                  for (const store::Item& item : page->items) {
                                    auto device = cluster::decode_device(*item.value);
                                    // One that a newer limpet wrote is nobody to decide about, and so is the
                                    // rest.
                                    if (!device) return;
                                    records.push_back(std::move(*device));
                                  }
                                  // A cluster of one has no records, and nothing to look at.
                                  if (records.empty()) return;
                                  timer_.start(every_ms, [this] { look(); });
                                  decide(records);
                                });
}

void GroupKeeper::decide(const std::vector<cluster::Device>& records) {
  const raft::Membership membership = device_.store->consensus().status().membership;
  for (const cluster::Device& device : records) {
    if (device.state != cluster::DeviceState::active && !membership.has(device.member)) forget(device);
  }
  cluster::VoterOptions options;
  options.most_voters = static_cast<size_t>(device_.config.cluster.voters);
  options.replace_after_s = device_.config.cluster.replace_lost_after_ms / 1000;
  const auto change = cluster::wanted_change(group(records), options);
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

void GroupKeeper::forget(const cluster::Device& device) {
  device_.store->durable().commit(forget_member(device, term_, device_.clock.wall()),
                                  [name = device.name](Result<store::Committed> done) {
                                    if (done) log::notice("a server has left the group", {{"device", name}});
                                  });
}

cluster::Group GroupKeeper::group(const std::vector<cluster::Device>& records) {
  const raft::Status status = device_.store->consensus().status();
  const raft::MemberId self = device_.store->consensus().self();
  cluster::Group g{.membership = status.membership, .leader = self, .last = status.last, .members = {}};
  std::map<raft::MemberId, cluster::GroupMember> members;
  for (const cluster::Device& device : records) {
    members[device.member] = {.id = device.member, .wanted = device.state == cluster::DeviceState::active};
  }
  for (const raft::MemberId id : status.membership.all()) {
    members.try_emplace(id, cluster::GroupMember{.id = id, .wanted = false});
  }
  const int64_t now = device_.loop.now_ms();
  for (const raft::PeerStatus& p : status.peers) {
    cluster::GroupMember& m = members[p.id];
    m.match = p.match;
    const auto heard = heard_.try_emplace(p.id, now).first;
    if (p.active) heard->second = now;
    // The group itself counts who answered since its last check of the quorum, a moment ago at times.
    m.active = now - heard->second < silent_after_ms(device_.config);
    m.silent_s = m.active ? 0 : (now - heard->second) / 1000;
  }
  if (members.contains(self)) members[self].active = true, members[self].match = status.last;
  for (auto& [id, m] : members) {
    m.id = id;
    g.members.push_back(m);
  }
  return g;
}

}  // namespace limpet::daemon

#include "daemon/group_keeper.h"

#include <algorithm>

#include "base/log.h"
#include "daemon/member_records.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr int64_t every_ms = 1'000;
constexpr raft::Index close_enough = 256;  // entries

bool has(const std::vector<raft::MemberId>& list, raft::MemberId id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

}  // namespace

GroupKeeper::GroupKeeper(Device& device) : device_(device), timer_(device.loop, "group") { look(); }

void GroupKeeper::look() {
  const auto& records = device_.members->all();
  store::Consensus& group = device_.store->consensus();
  // A cluster of one has no records, and nothing to look at.
  if (!device_.members->known() || records.empty()) return;
  timer_.start(every_ms, [this] { look(); });
  const raft::Status status = group.status();
  if (status.membership.joint()) return;
  raft::Membership wanted = status.membership;
  for (const auto& [id, record] : records) {
    if (!wanted.has(id)) wanted.learners.push_back(id);
  }
  std::vector<raft::MemberId> ready;
  for (const raft::PeerStatus& p : status.peers) {
    if (has(wanted.learners, p.id) && p.active && p.match > 0 && p.match + close_enough >= status.last)
      ready.push_back(p.id);
  }
  while (ready.size() >= 2 &&
         wanted.voters.size() + 2 <= static_cast<size_t>(device_.config.cluster.voters)) {
    for (int i = 0; i < 2; i++) {
      wanted.voters.push_back(ready.back());
      std::erase(wanted.learners, ready.back());
      ready.pop_back();
    }
  }
  std::erase_if(wanted.learners, [&](raft::MemberId id) { return !records.contains(id); });
  std::sort(wanted.voters.begin(), wanted.voters.end());
  std::sort(wanted.learners.begin(), wanted.learners.end());
  if (wanted == status.membership) return;
  if (auto asked = group.reconfigure(wanted); !asked) {
    log::debug("the group is not changed yet", {{"error", asked.error()}});
  } else {
    log::notice("the group of servers changes", {{"to", raft::to_string(wanted)}});
  }
}

}  // namespace limpet::daemon

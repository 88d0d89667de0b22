#include "roster.h"

#include "base/result.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;

void Roster::asked(Index index, const Membership& membership) {
  if (index > agreed_index_) asked_.push_back({index, membership});
}

void Roster::agreed(Index index, const Membership& membership) {
  for (auto& [id, gone] : gone_) {
    if (index > gone.left_out_by && membership.has(id)) {
      throw Breach(strf("member %llu is gone and is back in %s", (unsigned long long)id,
                        to_string(membership).c_str()));
    }
    if (index > gone.asked_upto && !membership.has(id)) gone.left_out_by = std::min(gone.left_out_by, index);
  }
  if (index <= agreed_index_) return;
  agreed_index_ = index;
  agreed_ = membership;
  // Those before it are in it, or were overwritten.
  std::erase_if(asked_, [&](const Asked& a) { return a.index <= index; });
}

bool Roster::may_lose(MemberId lost) const {
  const auto survives = [&](const std::vector<MemberId>& voters) {
    const auto stay =
        std::count_if(voters.begin(), voters.end(), [&](MemberId id) { return id != lost && !gone(id); });
    return static_cast<size_t>(stay) >= majority(voters.size());
  };
  const auto works = [&](const Membership& m) {
    return survives(m.voters) && (!m.joint() || survives(m.outgoing));
  };
  return works(agreed_) &&
         std::all_of(asked_.begin(), asked_.end(), [&](const Asked& a) { return works(a.membership); });
}

void Roster::lose(MemberId id) {
  Gone gone{agreed_index_};
  for (const Asked& a : asked_) gone.asked_upto = std::max(gone.asked_upto, a.index);
  gone_[id] = gone;
}

Membership Roster::without_gone(const Membership& membership) const {
  Membership out{membership.voters, {}, membership.learners};
  std::erase_if(out.voters, [&](MemberId id) { return gone(id); });
  std::erase_if(out.learners, [&](MemberId id) { return gone(id); });
  return out;
}

}  // namespace sim

#include "cluster/voters.h"

#include <algorithm>

#include "base/bytes.h"

namespace limpet::cluster {

namespace {

using raft::MemberId;
using raft::Membership;
using Ids = std::vector<MemberId>;

size_t odd(size_t n) { return n == 0 ? 0 : n - (n % 2 == 0 ? 1 : 0); }
bool has(const Ids& ids, MemberId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }
void sort(Ids& ids) { std::sort(ids.begin(), ids.end()); }

std::string text(const Ids& ids) {
  std::string out;
  for (const MemberId id : ids) out += (out.empty() ? "" : ", ") + hex64(id);
  return out;
}

class Policy {
 public:
  Policy(const Group& group, const VoterOptions& options) : group_(group), options_(options) { sort_out(); }

  std::optional<GroupChange> run() {
    if (group_.membership.joint()) return {};
    if (auto change = change_voters()) return change;
    if (auto change = hand_over()) return change;
    if (auto change = drop_learners()) return change;
    return add_learner();
  }

 private:
  GroupMember member(MemberId id) const {
    for (const GroupMember& one : group_.members) {
      if (one.id == id) return one;
    }
    GroupMember unknown;  // nobody says that it should go, nor that it works
    unknown.id = id;
    return unknown;
  }
  bool active(MemberId id) const { return id == group_.leader || member(id).active; }
  bool caught_up(MemberId id) const {
    const uint64_t match = id == group_.leader ? group_.last : member(id).match;
    return active(id) && match + options_.nearly >= group_.last;
  }
  bool lost(const GroupMember& one) const {
    if (one.id == group_.leader) return one.replace;
    return one.replace ||
           (options_.replace_after_s > 0 && !one.active && one.silent_s >= options_.replace_after_s);
  }

  void sort_out();
  Ids next_voters() const;
  std::optional<GroupChange> change_voters() const;
  std::optional<GroupChange> hand_over() const;
  std::optional<GroupChange> drop_learners() const;
  std::optional<GroupChange> add_learner() const;
  bool can_agree(const Ids& voters) const;
  std::string reason(const Ids& voters) const;

  const Group& group_;
  const VoterOptions& options_;
  Ids staying_;                 // voters, the worst first: who is demoted first
  Ids lost_;                    // voters that are to be replaced, those lost the longest first
  Ids leaving_;                 // voters that were removed, without the leader while others can go
  Ids candidates_;              // learners that may become voters, the best first
  size_t coming_ = 0;           // active servers that may become candidates
  bool leader_leaves_ = false;  // once all else is done
};

void Policy::sort_out() {
  const Membership& now = group_.membership;
  for (const MemberId id : now.voters) {
    const GroupMember one = member(id);
    const bool goes = !one.wanted || lost(one);
    if (id == group_.leader && goes && now.voters.size() > 1) {
      leader_leaves_ = true;
      staying_.push_back(id);
    } else if (!one.wanted) {
      leaving_.push_back(id);
    } else {
      (lost(one) ? lost_ : staying_).push_back(id);
    }
  }
  for (const MemberId id : now.learners) {
    const GroupMember one = member(id);
    if (!one.wanted || lost(one)) continue;
    if (caught_up(id)) {
      candidates_.push_back(id);
    } else if (one.active) {
      ++coming_;
    }
  }
  for (const GroupMember& one : group_.members)
    coming_ += one.wanted && one.active && !now.has(one.id) ? 1 : 0;

  const auto better = [&](MemberId a, MemberId b) {
    if ((a == group_.leader) != (b == group_.leader)) return a == group_.leader;
    if (active(a) != active(b)) return active(a);
    if (caught_up(a) != caught_up(b)) return caught_up(a);
    return a < b;
  };
  std::sort(candidates_.begin(), candidates_.end(), better);
  std::sort(staying_.begin(), staying_.end(), [&](MemberId a, MemberId b) { return better(b, a); });
  std::sort(lost_.begin(), lost_.end(), [&](MemberId a, MemberId b) {
    const int64_t x = member(a).silent_s, y = member(b).silent_s;
    return x != y ? x > y : a < b;
  });
}

// A lost voter counts until there is a candidate for its place.
Ids Policy::next_voters() const {
  Ids voters = staying_;
  const size_t replaced = std::min(lost_.size(), candidates_.size());
  voters.insert(voters.end(), candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(replaced));
  voters.insert(voters.begin(), lost_.begin() + static_cast<ptrdiff_t>(replaced), lost_.end());
  const size_t most = odd(options_.most_voters);
  const size_t spare = candidates_.size() - replaced;
  size_t target = std::min(most, odd(voters.size() + spare));
  // Rather even for a while than fewer and soon more again.
  if (target < voters.size() && coming_ > 0) target = std::min(most, voters.size());
  if (target > voters.size()) {
    const auto from = candidates_.begin() + static_cast<ptrdiff_t>(replaced);
    voters.insert(voters.end(), from, from + static_cast<ptrdiff_t>(target - voters.size()));
  } else {
    voters.erase(voters.begin(), voters.begin() + static_cast<ptrdiff_t>(voters.size() - target));
  }
  sort(voters);
  return voters;
}

// By those who are active now, before and after.
bool Policy::can_agree(const Ids& voters) const {
  if (voters.empty()) return false;
  Membership both;
  both.voters = voters;
  both.outgoing = group_.membership.voters;
  return raft::quorum(both, [&](MemberId id) { return active(id); });
}

std::string Policy::reason(const Ids& voters) const {
  Ids in, out;
  for (const MemberId id : voters) {
    if (!has(group_.membership.voters, id)) in.push_back(id);
  }
  for (const MemberId id : group_.membership.voters) {
    if (!has(voters, id)) out.push_back(id);
  }
  std::string why;
  if (!in.empty()) why = text(in) + " caught up and will vote";
  if (!out.empty()) why += (why.empty() ? "" : "; ") + text(out) + " will not vote any more";
  return why;
}

std::optional<GroupChange> Policy::change_voters() const {
  const Membership& now = group_.membership;
  const Ids voters = next_voters();
  if (voters == now.voters || !can_agree(voters)) return {};
  Membership then;
  then.voters = voters;
  for (const MemberId id : now.all()) {
    if (!has(voters, id) && !has(leaving_, id)) then.learners.push_back(id);
  }
  return GroupChange{then, 0, reason(voters)};
}

// To the voter that is furthest.
std::optional<GroupChange> Policy::hand_over() const {
  if (!leader_leaves_ || !can_agree(group_.membership.voters)) return {};
  MemberId best = 0;
  for (const MemberId id : staying_) {
    if (id == group_.leader || !caught_up(id)) continue;
    if (best == 0 || member(id).match > member(best).match) best = id;
  }
  if (best == 0) return {};
  return GroupChange{{}, best, text({group_.leader}) + " leaves, and leads no more"};
}

std::optional<GroupChange> Policy::drop_learners() const {
  Membership then = group_.membership;
  Ids gone;
  for (const MemberId id : group_.membership.learners) {
    if (!member(id).wanted) gone.push_back(id);
  }
  if (gone.empty() || !can_agree(then.voters)) return {};
  std::erase_if(then.learners, [&](MemberId id) { return has(gone, id); });
  return GroupChange{then, 0, text(gone) + " left"};
}

// One at a time: each is sent the whole state.
std::optional<GroupChange> Policy::add_learner() const {
  const Membership& now = group_.membership;
  if (now.voters.size() + now.learners.size() >= raft::kMaxMembers || !can_agree(now.voters)) return {};
  MemberId first = 0;
  for (const GroupMember& one : group_.members) {
    if (one.wanted && !now.has(one.id) && (first == 0 || one.id < first)) first = one.id;
  }
  if (first == 0) return {};
  Membership then = now;
  then.learners.push_back(first);
  sort(then.learners);
  return GroupChange{then, 0, text({first}) + " joined and learns"};
}

}  // namespace

std::optional<GroupChange> wanted_change(const Group& group, const VoterOptions& options) {
  return Policy(group, options).run();
}

}  // namespace limpet::cluster

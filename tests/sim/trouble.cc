// What goes wrong in a run, and what is asked of the group meanwhile.
#include "base/result.h"
#include "world.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;
using ull = unsigned long long;

namespace {
constexpr size_t kMaxDevices = 20;  // of one run; a virtual minute should not become an hour
constexpr Time kForGood = 3600 * kSecond;
}  // namespace

void World::trouble() {
  if (calm_) return;
  clock_.after(clock_.between(1, 2 * weather_.trouble_every), [this] { trouble(); });
  Node* node = pick();
  const auto what = weather_.pick(
      clock_, {Trouble::crash, Trouble::cut, Trouble::pause, Trouble::stall, Trouble::full,
               Trouble::reconfigure, Trouble::transfer, Trouble::wipe, Trouble::rot, Trouble::jump});
  if (node && what) strike(*what, *node);
}

// Not at once: it is in the middle of it, and what it wrote and sent should come to different places.
void World::moment(MemberId id) {
  if (calm_ || !clock_.chance(weather_.aimed)) return;
  clock_.after(clock_.below(clock_.chance(500) ? 10 * kMs : 300 * kMs), [this, id] {
    Node& node = nodes_.at(id);
    if (calm_ || !node.member->running()) return;
    const auto what =
        weather_.pick(clock_, {Trouble::crash, Trouble::cut, Trouble::pause, Trouble::stall, Trouble::full,
                               Trouble::reconfigure, Trouble::transfer, Trouble::wipe, Trouble::jump});
    if (!what) return;
    const bool leads = node.member->raft().standing().role == Role::leader;
    if (*what == Trouble::reconfigure && leads) return reconfigure(&node);
    if (*what == Trouble::transfer && leads) return transfer(&node);
    if (*what == Trouble::cut) return cut({id});
    strike(*what, node);
  });
}

void World::strike(Trouble what, Node& node) {
  switch (what) {
    case Trouble::crash:
      return crash(node);
    case Trouble::cut:
      return cut({});
    case Trouble::pause:
      return pause(node);
    case Trouble::stall:
      return stall(node);
    case Trouble::full:
      return fill(node);
    case Trouble::reconfigure:
      return reconfigure(leading());
    case Trouble::transfer:
      return transfer(leading());
    case Trouble::wipe:
      return wipe(node);
    case Trouble::rot:
      return rot(node);
    case Trouble::jump:
      return jump(node);
  }
}

void World::stop(Node& node) {
  if (node.member->crash()) fault(Fault::unsynced);
  node.proposals.clear();
  node.reads.clear();
}

void World::start_later(Node& node) {
  const Time down = clock_.chance(500) ? clock_.between(1, 100) * kMs : while_it_lasts();
  clock_.after(down, [this, &node] {
    if (!calm_) start(node);
  });
}

void World::crash(Node& node) {
  fault(Fault::crash);
  stop(node);
  start_later(node);
}

// These and perhaps some more from the others.
void World::cut(std::set<MemberId> side) {
  std::set<std::pair<MemberId, MemberId>> cut;
  const bool one_way = clock_.chance(300), outwards = clock_.chance(500);
  const uint64_t more = side.empty() ? 400 : 200;
  for (const auto& [id, node] : nodes_) {
    if (clock_.chance(more)) side.insert(id);
  }
  for (const auto& [a, node_a] : nodes_) {
    for (const auto& [b, node_b] : nodes_) {
      if (!side.contains(a) || side.contains(b)) continue;
      if (!one_way || outwards) cut.insert({a, b});
      if (!one_way || !outwards) cut.insert({b, a});
    }
  }
  if (!cut.empty()) fault(one_way ? Fault::partition_one_way : Fault::partition);
  say(strf("cuts %zu paths", cut.size()));
  cuts_.insert(cut.begin(), cut.end());
  clock_.after(while_it_lasts(), [this, cut] {
    say("mends them");
    for (const auto& path : cut) cuts_.erase(path);
  });
}

bool World::connected(MemberId from, MemberId to) const {
  return !cuts_.contains({from, to}) && !mute_.contains(from) && !deaf_.contains(to);
}

void World::pause(Node& node) {
  fault(Fault::pause);
  const Time length = while_it_lasts();
  say(strf("pauses %llu for %llu ms", (ull)node.member->id(), (ull)(length / kMs)));
  node.member->pause_until(clock_.now() + length);
}

void World::stall(Node& node) {
  fault(Fault::stall);
  const Time length = while_it_lasts();
  say(strf("the disk of %llu stalls for %llu ms", (ull)node.member->id(), (ull)(length / kMs)));
  node.member->disk().stall_until(clock_.now() + length);
}

void World::fill(Node& node) {
  fault(Fault::full);
  const Time length = while_it_lasts();
  say(strf("the disk of %llu is full for %llu ms", (ull)node.member->id(), (ull)(length / kMs)));
  node.member->disk().full_until(clock_.now() + length);
}

// Other voters altogether, perhaps.
void World::shuffle(Membership& wanted) {
  const std::vector<MemberId> all = wanted.all();
  wanted = {};
  for (const MemberId id : all) (clock_.chance(500) ? wanted.voters : wanted.learners).push_back(id);
  if (wanted.voters.empty()) std::swap(wanted.voters, wanted.learners);
}

void World::reconfigure(Node* leader) {
  if (!leader) return;
  Membership wanted = roster_.without_gone(leader->member->raft().membership());
  if (wanted.all().size() < 6 && nodes_.size() < kMaxDevices && clock_.chance(400)) {
    Node& added = add_member({});
    start(added);
    wanted.learners.push_back(added.member->id());  // ids rise: it stays sorted
  }
  const auto move = [&](std::vector<MemberId>& from, std::vector<MemberId>* to) {
    if (from.empty()) return;
    const auto it = from.begin() + static_cast<ptrdiff_t>(clock_.below(from.size()));
    if (to) to->insert(std::lower_bound(to->begin(), to->end(), *it), *it);
    from.erase(it);
  };
  if (clock_.chance(200)) shuffle(wanted);
  if (clock_.chance(500)) move(wanted.learners, &wanted.voters);
  if (wanted.voters.size() > 1 && clock_.chance(400))
    move(wanted.voters, clock_.chance(500) ? &wanted.learners : nullptr);
  ask(*leader, wanted);
}

// Refused is fine.
void World::ask(Node& leader, const Membership& wanted) {
  say(strf("asks %llu for %s", (ull)leader.member->id(), to_string(wanted).c_str()));
  Membership taken;
  const auto index = leader.member->with([&](Raft& raft) {
    auto out = raft.reconfigure(wanted);
    taken = raft.membership();
    return out;
  });
  if (!index) return;
  fault(Fault::membership);
  roster_.asked(*index, taken);
}

void World::transfer(Node* leader) {
  if (!leader) return;
  const auto all = leader->member->raft().membership().all();
  const MemberId to = all[clock_.below(all.size())];
  say(strf("asks %llu to hand over to %llu", (ull)leader->member->id(), (ull)to));
  // Refused is fine.
  if (leader->member->with([&](Raft& raft) { return raft.transfer(to); })) fault(Fault::transfer);
}

// Its clock stands still, or runs after what it missed.
void World::jump(Node& node) {
  if (node.member->paused()) return;
  const MemberId id = node.member->id();
  if (clock_.chance(500)) {
    fault(Fault::clock_stop);
    const Time length = 2 * while_it_lasts();
    say(strf("the clock of %llu stands still for %llu ms", (ull)id, (ull)(length / kMs)));
    return node.member->stop_clock_until(clock_.now() + length);
  }
  fault(Fault::clock_jump);
  const uint64_t ticks = clock_.between(2, uint64_t{1} << clock_.between(2, 10));
  say(strf("the clock of %llu jumps by %llu ticks", (ull)id, (ull)ticks));
  node.member->jump(ticks);
}

// ---- devices that lose what they had ----

void World::wipe(Node& node) {
  if (!roster_.may_lose(node.member->id())) return;
  fault(Fault::wipe);
  say(strf("the disk of %llu is lost", (ull)node.member->id()));
  stop(node);
  roster_.lose(node.member->id());
  replace(node);
}

void World::rot(Node& node) {
  if (!roster_.may_lose(node.member->id())) return;
  fault(Fault::rot);
  say(strf("a bit rots on the disk of %llu", (ull)node.member->id()));
  stop(node);
  roster_.lose(node.member->id());
  node.member->disk().rot();
  start_later(node);
}

// The device comes back as somebody new, with nothing.
void World::replace(Node& node) {
  node.replaced = true;
  const MemberId id = node.member->id();
  const bool votes = roster_.votes(id) && clock_.chance(700);
  clock_.after(clock_.between(10, 8000) * kMs, [this, id, votes] {
    Node& fresh = add_member({});
    say(strf("%llu comes back as %llu", (ull)id, (ull)fresh.member->id()));
    start(fresh);
    admit(id, fresh.member->id(), votes);
  });
}

// Whoever looks after the group asks until it is so.
void World::admit(MemberId gone, MemberId fresh, bool votes) {
  clock_.after(clock_.between(100, 1500) * kMs, [this, gone, fresh, votes] {
    const Membership& agreed = roster_.agreed();
    const bool in = votes ? agreed.votes(fresh) : agreed.has(fresh);
    if (roster_.gone(fresh) || (in && !agreed.has(gone))) return;
    if (Node* leader = leading()) {
      Membership wanted = roster_.without_gone(leader->member->raft().membership());
      // A device that is left broken is given no vote: the others are asked to do without it.
      const auto node = nodes_.find(fresh);
      const bool broken = node != nodes_.end() && node->second.broken;
      auto& to = votes && !broken && wanted.has(fresh) ? wanted.voters : wanted.learners;
      std::erase(wanted.learners, fresh);
      if (!wanted.votes(fresh)) to.insert(std::lower_bound(to.begin(), to.end(), fresh), fresh);
      ask(*leader, wanted);
    }
    admit(gone, fresh, votes);
  });
}

// ---- what is not healed ----

// The others must do without it, whatever it is: a majority is all that may be asked for. Mostly it is who
// leads.
void World::leave_one_broken() {
  Node* node = clock_.chance(600) ? leading() : pick();
  const auto how =
      weather_.pick(clock_, {Trouble::crash, Trouble::cut, Trouble::pause, Trouble::stall, Trouble::full});
  if (!node || !how || !roster_.may_lose(node->member->id())) return;
  say(strf("%llu is not healed", (ull)node->member->id()));
  node->broken = true;
  break_for_good(*node, *how);
}

void World::break_for_good(Node& node, Trouble how) {
  const MemberId id = node.member->id();
  if (how == Trouble::crash) fault(Fault::crash), stop(node);
  if (how == Trouble::pause) fault(Fault::pause), node.member->pause_until(clock_.now() + kForGood);
  if (how == Trouble::stall) fault(Fault::stall), node.member->disk().stall_until(clock_.now() + kForGood);
  if (how == Trouble::full) fault(Fault::full), node.member->disk().full_until(clock_.now() + kForGood);
  if (how != Trouble::cut) return;
  const uint64_t side = clock_.below(3);
  fault(side == 2 ? Fault::partition : Fault::partition_one_way);
  if (side != 0) deaf_.insert(id);
  if (side != 1) mute_.insert(id);
}

}  // namespace sim

// What goes wrong in a run, and what is asked of the group meanwhile.
#include "base/result.h"
#include "world.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;
using ull = unsigned long long;

void World::trouble() {
  if (calm_) return;
  clock_.after(clock_.between(1, 2 * weather_.trouble_every), [this] { trouble(); });
  switch (clock_.below(10)) {
    case 0:
      return weather_.crash ? crash_one() : void();
    case 1:
      return weather_.cut ? cut_some() : void();
    case 2:
      return weather_.pause ? pause_one() : void();
    case 3:
      return weather_.stall ? stall_one() : void();
    case 4:
      return weather_.full ? fill_one() : void();
    case 5:
      return weather_.reconfigure ? reconfigure() : void();
    case 6:
      return weather_.wipe ? wipe_one() : void();
    case 7:
      return weather_.rot ? rot_one() : void();
    case 8:
      return weather_.jump ? jump_one() : void();
    default:
      return weather_.transfer ? transfer() : void();
  }
}

void World::stop(Node& node) {
  ++ledger_.faults;
  node.member->crash();
  node.proposals.clear();
  node.reads.clear();
}

void World::start_later(Node& node) {
  const Time down = clock_.chance(500) ? clock_.between(1, 100) * kMs : clock_.between(1, 10) * kSecond;
  clock_.after(down, [this, &node] {
    if (!calm_) start(node);
  });
}

void World::crash_one() {
  Node* node = pick();
  if (!node) return;
  stop(*node);
  start_later(*node);
}

void World::cut_some() {
  ++ledger_.faults;
  std::set<std::pair<MemberId, MemberId>> cut;
  const bool one_way = clock_.chance(300);
  std::set<MemberId> side;
  for (const auto& [id, node] : nodes_) {
    if (clock_.chance(400)) side.insert(id);
  }
  for (const auto& [a, node_a] : nodes_) {
    for (const auto& [b, node_b] : nodes_) {
      if (!side.contains(a) || side.contains(b)) continue;
      cut.insert({a, b});
      if (!one_way) cut.insert({b, a});
    }
  }
  say(strf("cuts %zu paths", cut.size()));
  cuts_.insert(cut.begin(), cut.end());
  clock_.after(clock_.between(100, 10000) * kMs, [this, cut] {
    say("mends them");
    for (const auto& path : cut) cuts_.erase(path);
  });
}

void World::pause_one() {
  Node* node = pick();
  if (!node) return;
  ++ledger_.faults;
  const Time length = clock_.between(100, 6000) * kMs;
  say(strf("pauses %llu for %llu ms", (ull)node->member->id(), (ull)(length / kMs)));
  node->member->pause_until(clock_.now() + length);
}

void World::stall_one() {
  Node* node = pick();
  if (!node) return;
  ++ledger_.faults;
  const Time length = clock_.between(100, 8000) * kMs;
  say(strf("the disk of %llu stalls for %llu ms", (ull)node->member->id(), (ull)(length / kMs)));
  node->member->disk().stall_until(clock_.now() + length);
}

void World::fill_one() {
  Node* node = pick();
  if (!node) return;
  ++ledger_.faults;
  const Time length = clock_.between(100, 8000) * kMs;
  say(strf("the disk of %llu is full for %llu ms", (ull)node->member->id(), (ull)(length / kMs)));
  node->member->disk().full_until(clock_.now() + length);
}

// Other voters altogether, perhaps.
void World::shuffle(Membership& wanted) {
  const std::vector<MemberId> all = wanted.all();
  wanted = {};
  for (const MemberId id : all) (clock_.chance(500) ? wanted.voters : wanted.learners).push_back(id);
  if (wanted.voters.empty()) std::swap(wanted.voters, wanted.learners);
}

void World::reconfigure() {
  Node* leader = leading();
  if (!leader) return;
  Membership wanted = roster_.without_gone(leader->member->raft().membership());
  if (wanted.all().size() < 6 && clock_.chance(400)) {
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
  if (wanted.voters.size() > 1 && clock_.chance(300))
    move(wanted.voters, clock_.chance(500) ? &wanted.learners : nullptr);
  ask(*leader, wanted);
}

// Refused is fine.
void World::ask(Node& leader, const Membership& wanted) {
  const Membership before = leader.member->raft().membership();
  say(strf("asks %llu for %s", (ull)leader.member->id(), to_string(wanted).c_str()));
  const auto index = leader.member->with([&](Raft& raft) { return raft.reconfigure(wanted); });
  if (index) roster_.asked(*index, enter(before, wanted));
}

void World::transfer() {
  Node* leader = leading();
  if (!leader) return;
  const auto all = leader->member->raft().membership().all();
  const MemberId to = all[clock_.below(all.size())];
  say(strf("asks %llu to hand over to %llu", (ull)leader->member->id(), (ull)to));
  (void)leader->member->with([&](Raft& raft) { return raft.transfer(to); });  // refused is fine
}

// Its clock stands still, or runs after what it missed.
void World::jump_one() {
  Node* node = pick();
  if (!node || node->member->paused()) return;
  ++ledger_.faults;
  const MemberId id = node->member->id();
  if (clock_.chance(500)) {
    const Time length = clock_.between(100, 20000) * kMs;
    say(strf("the clock of %llu stands still for %llu ms", (ull)id, (ull)(length / kMs)));
    return node->member->stop_clock_until(clock_.now() + length);
  }
  const uint64_t ticks = clock_.between(2, uint64_t{1} << clock_.between(2, 10));
  say(strf("the clock of %llu jumps by %llu ticks", (ull)id, (ull)ticks));
  node->member->jump(ticks);
}

// ---- devices that lose what they had ----

void World::wipe_one() {
  Node* node = pick();
  if (!node || !roster_.may_lose(node->member->id())) return;
  say(strf("the disk of %llu is lost", (ull)node->member->id()));
  stop(*node);
  roster_.lose(node->member->id());
  replace(*node);
}

void World::rot_one() {
  Node* node = pick();
  if (!node || !roster_.may_lose(node->member->id())) return;
  say(strf("a bit rots on the disk of %llu", (ull)node->member->id()));
  stop(*node);
  roster_.lose(node->member->id());
  node->member->disk().rot();
  start_later(*node);
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
      auto& to = votes && wanted.has(fresh) ? wanted.voters : wanted.learners;
      std::erase(wanted.learners, fresh);
      if (!wanted.votes(fresh)) to.insert(std::lower_bound(to.begin(), to.end(), fresh), fresh);
      ask(*leader, wanted);
    }
    admit(gone, fresh, votes);
  });
}

}  // namespace sim

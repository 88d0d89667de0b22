// What goes wrong, who looks after the group meanwhile, and the healing at the end.
#include <unistd.h>

#include <filesystem>

#include "base/result.h"
#include "whole.h"

namespace sim {

using namespace limpet;
using ull = unsigned long long;
namespace fs = std::filesystem;

namespace {
constexpr Time kLasts = 20 * kSecond, kHealWithin = 60 * kSecond, kLastLoad = 20 * kSecond;
constexpr size_t kViewers = 3;
constexpr const char* kKinds[] = {"kill", "failpoint", "cut", "pause",    "stall",
                                  "full", "lose",      "rot", "transfer", "wall-clock"};
// Those that the life of a group reaches; docs/failpoints.md has all.
constexpr const char* kFailpoints[] = {"store.ack.after",
                                       "store.ack.before",
                                       "store.apply.row",
                                       "store.barrier.ask",
                                       "store.barrier.confirm",
                                       "store.blob.commit",
                                       "store.boot.commit",
                                       "store.check",
                                       "store.checkpoint",
                                       "store.checkpoint.done",
                                       "store.chunk.read",
                                       "store.close",
                                       "store.commit.after",
                                       "store.commit.before",
                                       "store.commit.write",
                                       "store.compact.commit",
                                       "store.compact.delete",
                                       "store.directory.sync",
                                       "store.group.term",
                                       "store.group.write",
                                       "store.lead.told",
                                       "store.lock.opened",
                                       "store.log.append",
                                       "store.log.appended",
                                       "store.log.begin",
                                       "store.log.clear",
                                       "store.log.compact",
                                       "store.log.read",
                                       "store.log.shorten",
                                       "store.made",
                                       "store.made.rename",
                                       "store.made.synced",
                                       "store.message.receive",
                                       "store.message.send",
                                       "store.migrate.commit",
                                       "store.migrate.step",
                                       "store.open",
                                       "store.propose",
                                       "store.publish",
                                       "store.reconfigure",
                                       "store.reserve.refill",
                                       "store.snapshot.install",
                                       "store.snapshot.read",
                                       "store.snapshot.reread",
                                       "store.snapshot.swap",
                                       "store.stage.begin",
                                       "store.stage.checked",
                                       "store.stage.drop",
                                       "store.stage.rows",
                                       "store.written"};
}  // namespace

Faults Whole::faults;
uint64_t Whole::operations, Whole::commits, Whole::seen, Whole::snapshots;
Time Whole::passed;

Whole::Whole(uint64_t seed, bool trace, limpet::store::test::Disk& disk)
    : clock_(seed), trace_(trace), disk_(disk) {
  place_ = strf("/dev/shm/limpet-sim-%d", static_cast<int>(getpid()));
  fs::remove_all(place_);
  fs::create_directory(place_);
  wanted_ = clock_.between(1, 5);
  const auto often = [&](uint64_t most) { return clock_.chance(500) ? clock_.below(most) : 0; };
  lose_ = often(200), twice_ = often(200), late_ = often(150);
  trouble_every_ = clock_.between(50, 1500) * kMs;
  weather_ =
      strf("%zu servers, trouble every %llu ms, of 1000 messages %llu lost %llu twice %llu late:", wanted_,
           (ull)(trouble_every_ / kMs), (ull)lose_, (ull)twice_, (ull)late_);
  for (const char* kind : kKinds) {
    const uint64_t permille = std::string_view(kind) == "failpoint" ? 800 : 500;
    if (clock_.chance(permille)) kinds_.insert(kind), weather_ += std::string(" ") + kind;
  }
  shape_.cache_bytes = 4000;
  shape_.history_revisions = static_cast<store::Revision>(clock_.between(4, 60));
  shape_.history_events = clock_.between(4, 200);
  shape_.checkpoint_bytes = clock_.between(16, 64) << 10;
  shape_.log_bytes = clock_.between(4, 40) << 10;
  shape_.tick_ms = 50;
  shape_.unknown_ticks = static_cast<uint32_t>(clock_.between(10, 100));
}

Whole::~Whole() {
  for (const auto& d : devices_) {
    if (d->process) d->process->on_death(nullptr), d->process->die();
    d->standing.reset();
  }
  viewers_.clear();
  for (const auto& d : devices_) disk_.forget(d->dir);
  devices_.clear();
  fs::remove_all(place_);
}

// Where the files lie is not part of what happens.
void Whole::say(const std::string& what) {
  if (!trace_) return;
  std::string line = what;
  for (size_t at; (at = line.find(place_)) != std::string::npos;) line.erase(at, place_.size());
  std::printf("%10.3f %s\n", static_cast<double>(clock_.now()) / kMs, line.c_str());
}

// Nothing is thrown through the store.
void Whole::breach(const std::string& what) {
  if (breach_.empty()) breach_ = what;
}

void Whole::run() {
  start(add(""));
  manage();
  for (int n = 0; n < 4; ++n) client();
  for (size_t n = 0; n < kViewers; ++n) {
    viewers_.push_back(std::make_unique<Viewer>());
    viewers_.back()->number = n;
    attach(*viewers_.back());
  }
  clock_.after(2 * kSecond, [this] { trouble(); });
  const auto step = [&](Time end) {
    const bool more = clock_.step(end);
    if (!breach_.empty()) throw Breach(breach_);
    return more;
  };
  while (step(kLasts)) {
  }
  heal();
  clock_.after(kLastLoad, [this] {
    tired_ = true;
    if (acknowledged_calm_ == 0) breach("no write was acknowledged in twenty seconds after all was healed");
  });
  while (!useful()) {
    if (!step(kLasts + kHealWithin)) throw Breach("what was healed is of no use within a minute");
  }
  passed += clock_.now();
  if (const std::string found = history_.violation(); !found.empty())
    throw Breach("not linearizable: " + found);
}

void Whole::trouble() {
  if (calm_) return;
  clock_.after(clock_.between(1, 2 * trouble_every_), [this] { trouble(); });
  const std::string kind = kKinds[clock_.below(std::size(kKinds))];
  Device* const d = some();
  if (!d || !kinds_.contains(kind)) return;
  const Time length = clock_.between(100, 6000) * kMs;
  look();
  const bool may_lose = (kind == "lose" || kind == "rot") && !d->gone && roster_.may_lose(d->id);
  if ((kind == "lose" || kind == "rot") && !may_lose) return;
  say(kind + strf(" %zu", d->number));
  if (kind == "kill") {
    if (clock_.chance(300)) {
      if (std::exchange(d->closing, true)) return;  // a store is closed once
      d->process->turn(
          [&] { d->store->close([this, d, p = d->process] { p->alive() ? closed(*d) : void(); }); });
    } else if (clock_.chance(500)) {
      d->process->die_writing(clock_.between(1, 40));
    } else {
      d->process->die();
    }
  } else if (kind == "failpoint") {
    arm(*d->process);
  } else if (kind == "cut") {
    cut();
  } else if (kind == "pause") {
    fault(Fault::pause);
    d->process->pause_until(clock_.now() + length);
  } else if (kind == "stall") {
    fault(Fault::stall);
    d->process->stall_until(clock_.now() + length);
  } else if (kind == "full") {
    fault(Fault::full);
    disk_.fill(d->dir, true);
    clock_.after(length, [this, dir = d->dir] { disk_.fill(dir, false); });
  } else if (kind == "lose") {
    fault(Fault::wipe);
    roster_.lose(d->id);
    replace(*d);
  } else if (kind == "rot") {
    roster_.lose(d->id);
    d->rotten = true;
    d->process->die();
    rot((d->next.empty() ? d->dir : d->next) + "d.db");
  } else if (kind == "transfer") {
    Device* const l = leader();
    if (!l) return;
    l->process->turn([&] {
      if (l->store->consensus().transfer(d->id)) fault(Fault::transfer);
    });
  } else {
    fault(Fault::clock_jump);
    d->clock.set_wall({static_cast<int64_t>(clock_.below(4'000'000'000)), 0});
  }
}

void Whole::arm(Process& p) {
  const std::string name = kFailpoints[clock_.below(std::size(kFailpoints))];
  const bool kill = clock_.chance(600);
  p.arm(name, kill, clock_.chance(700) ? 1 : clock_.between(1, 20));
}

void Whole::cut() {
  std::set<std::pair<raft::MemberId, raft::MemberId>> cut;
  const bool one_way = clock_.chance(300);
  std::set<raft::MemberId> side;
  for (const auto& d : devices_) {
    if (clock_.chance(400)) side.insert(d->id);
  }
  for (const auto& a : devices_) {
    for (const auto& b : devices_) {
      if (!side.contains(a->id) || side.contains(b->id)) continue;
      cut.insert({a->id, b->id});
      if (!one_way) cut.insert({b->id, a->id});
    }
  }
  if (!cut.empty()) fault(one_way ? Fault::partition_one_way : Fault::partition);
  cuts_.insert(cut.begin(), cut.end());
  clock_.after(clock_.between(100, 6000) * kMs, [this, cut] {
    for (const auto& path : cut) cuts_.erase(path);
  });
}

// One step at a time: who is gone goes, who is new comes, who has caught up votes.
void Whole::manage() {
  clock_.after(clock_.between(100, 600) * kMs, [this] {
    manage();
    look();
    Device* const l = leader();
    if (!l) return;
    const raft::Status s = l->store->consensus().status();
    size_t there = 0;
    for (const auto& d : devices_) there += d->gone || roster_.gone(d->id) ? 0 : 1;
    if (there < wanted_ && !calm_) return start(add(l->store->consensus().cluster()));
    raft::Membership wanted = roster_.without_gone(s.membership);
    for (const auto& d : devices_) {
      if (d->gone || d->id == 0 || roster_.gone(d->id) || wanted.has(d->id)) continue;
      wanted.learners.insert(std::lower_bound(wanted.learners.begin(), wanted.learners.end(), d->id), d->id);
    }
    for (const raft::PeerStatus& peer : s.peers) {
      if (peer.match < s.commit || std::erase(wanted.learners, peer.id) == 0) continue;
      wanted.voters.insert(std::lower_bound(wanted.voters.begin(), wanted.voters.end(), peer.id), peer.id);
    }
    if (!calm_ && wanted.voters.size() > 1 && clock_.chance(50)) {  // it is promoted again later
      const raft::MemberId down = wanted.voters[clock_.below(wanted.voters.size())];
      std::erase(wanted.voters, down);
      wanted.learners.insert(std::lower_bound(wanted.learners.begin(), wanted.learners.end(), down), down);
    }
    if (!wanted.voters.empty() && wanted != s.membership) ask(*l, wanted);
  });
}

void Whole::ask(Device& l, const raft::Membership& wanted) {
  l.process->turn([&] {
    const raft::Membership before = l.store->consensus().status().membership;
    say(strf("asks %zu for ", l.number) + raft::to_string(wanted));
    if (!l.store->consensus().reconfigure(wanted) || !l.process->alive()) return;
    fault(Fault::membership);
    roster_.asked(l.store->consensus().status().membership_index, raft::enter(before, wanted));
  });
}

void Whole::heal() {
  say("all is healed");
  calm_ = true;
  cuts_.clear();
  for (size_t n = 0; n < devices_.size(); ++n) {
    Device& d = *devices_[n];
    disk_.fill(d.dir, false);
    // Who is left out says nothing new to those who watch there.
    if (roster_.gone(d.id) && !d.gone) replace(d);
    if (d.process) d.process->heal();
    if (!d.gone && !d.runs() && !d.store) start(d);
  }
  for (const auto& v : viewers_) {
    if (v->watch) v->watch->resume();
  }
}

bool Whole::useful() {
  if (acknowledged_calm_ == 0) return false;
  look();
  Device* const l = leader();
  if (!l) return false;
  const raft::Status s = l->store->consensus().status();
  if (s.membership.joint() || s.commit != s.last) return false;
  for (const raft::MemberId id : s.membership.all()) {
    Device* const d = by_id(id);
    if (!d || !d->runs() || roster_.gone(id)) return false;
    if (d->store->durable().revision() != l->store->durable().revision()) return false;
  }
  for (const auto& v : viewers_) {
    if (!v->watch || v->last != l->store->durable().revision()) return false;
  }
  return true;
}

}  // namespace sim

#include "weather.h"

#include <algorithm>
#include <optional>

#include "base/result.h"

namespace sim {

using namespace limpet;
using ull = unsigned long long;

namespace {

struct Kind {
  const char* name;
  uint64_t often;  // of a thousand runs
};
constexpr std::array<Kind, kTroubles> kKinds = {{{"crash", 700},
                                                 {"cut", 700},
                                                 {"pause", 500},
                                                 {"stall", 500},
                                                 {"full", 300},
                                                 {"reconfigure", 600},
                                                 {"transfer", 500},
                                                 {"wipe", 300},
                                                 {"rot", 200},
                                                 {"jump", 400}}};

// Which messages the network treats badly: mostly all, else some kinds, and those all the worse.
void draw_network(Clockwork& clock, Weather& w) {
  const bool all = clock.chance(500);
  const auto often = [&](uint64_t most) {
    return clock.chance(500) ? clock.below(all ? most : 2 * most) : 0;
  };
  w.lose = often(300);
  w.duplicate = often(300);
  w.late = often(300);
  w.delay_high = clock.between(2, 60) * kMs;
  w.late_most = clock.between(500, 5000) * kMs;
  if (!all) {
    w.treated = 0;
    for (size_t kind = 0; kind < std::variant_size_v<raft::Body>; ++kind) {
      if (clock.chance(300)) w.treated |= uint64_t{1} << kind;
    }
  }
  // One way may be slow and the other one not.
  if (clock.chance(400)) w.late_to = clock.random().u64();
  w.cut_under_way = clock.chance(500);
}

void draw_troubles(Clockwork& clock, Weather& w) {
  // Seldom all of one kind, mostly some of several, and now and then one that is most of it.
  for (size_t i = 0; i < kTroubles; ++i) {
    if (clock.chance(kKinds[i].often)) w.weights[i] = clock.chance(250) ? 10 : clock.between(1, 3);
  }
  w.trouble_every = clock.between(100, 200) * kMs << clock.below(5);
  w.trouble_most = clock.between(200, 400) * kMs << clock.below(6);
  w.aimed = clock.chance(500) ? clock.between(20, 400) : 0;
  w.one_stays_broken = clock.chance(400);
}

void draw_clients(Clockwork& clock, Weather& w) {
  w.clients = clock.between(1, 6);
  w.think = clock.between(20, 300) * kMs;
  w.reads = clock.chance(500) ? 500 : clock.between(50, 950);
  w.ask_leader = clock.chance(500) ? 600 : clock.between(100, 900);
  w.burst = clock.chance(200) ? clock.between(2, 6) : 1;
}

}  // namespace

Weather Weather::draw(Clockwork& clock) {
  Weather w;
  w.members = clock.between(1, 5);
  draw_network(clock, w);
  draw_troubles(clock, w);
  draw_clients(clock, w);
  w.slow_disks = clock.chance(300);
  w.small_messages = clock.chance(250);
  w.keep_entries = clock.chance(500) ? clock.between(1, 6) : clock.between(6, 60);
  w.lasts = clock.between(10, 60) * kSecond;
  w.heartbeat_ticks = clock.chance(600) ? 2 : static_cast<uint32_t>(clock.between(1, 3));
  w.election_ticks = std::max(8u, 4 * w.heartbeat_ticks);
  return w;
}

std::optional<Trouble> Weather::pick(Clockwork& clock, std::initializer_list<Trouble> among) const {
  const auto weight = [&](Trouble what) { return weights[static_cast<size_t>(what)]; };
  uint64_t total = 0;
  for (const Trouble what : among) total += weight(what);
  if (total == 0) return std::nullopt;
  uint64_t left = clock.below(total);
  for (const Trouble what : among) {
    if (left < weight(what)) return what;
    left -= weight(what);
  }
  return std::nullopt;
}

std::string Weather::text() const {
  std::string out = strf(
      "%llu members, %llu clients every %llu ms, of 1000 operations %llu reads, of 1000 messages %llu lost "
      "%llu twice "
      "%llu late (kinds %llx), trouble every %llu ms for up to %llu ms, %llu of 1000 aimed:",
      (ull)members, (ull)clients, (ull)(think / kMs), (ull)reads, (ull)lose, (ull)duplicate, (ull)late,
      (ull)(treated & ((uint64_t{1} << std::variant_size_v<raft::Body>)-1)), (ull)(trouble_every / kMs),
      (ull)(trouble_most / kMs), (ull)aimed);
  for (size_t i = 0; i < kTroubles; ++i) {
    if (weights[i] != 0) out += strf(" %s*%llu", kKinds[i].name, (ull)weights[i]);
  }
  if (slow_disks) out += " slow-disks";
  if (small_messages) out += " small-messages";
  if (one_stays_broken) out += " one-stays-broken";
  return out;
}

}  // namespace sim

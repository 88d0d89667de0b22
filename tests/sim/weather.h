// How much of what goes wrong in one run; drawn from the seed, printed with a failure.
//
// What makes rare interleavings likely is that the runs differ (Groce et al., "Swarm Testing", 2012): each
// draws which kinds of trouble there are at all, how often each comes, how long it lasts and which messages
// the network treats badly. A run of nothing but changes of the membership at a rate that no operator asks
// for finds what one of everything a little never does.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <string>

#include "clockwork.h"
#include "raft/types.h"

namespace sim {

namespace raft = limpet::raft;

enum class Trouble : uint8_t {
  crash,
  cut,
  pause,
  stall,
  full,
  reconfigure,
  transfer,
  wipe,
  rot,
  jump,
};
constexpr size_t kTroubles = 10;

struct Weather {
  uint64_t members = 3;
  uint64_t lose = 0, duplicate = 0;  // of a thousand messages
  uint64_t late = 0;                 // of a thousand messages: up to late_most
  uint64_t treated =
      ~uint64_t{0};  // the kinds of messages (a bit for each of raft::Body) that any of it happens to
  uint64_t late_to = ~uint64_t{0};  // whose messages are late: a bit for each receiver, by the rest of its id
  bool cut_under_way = true;        // a cut also takes what was sent before it
  Time delay_low = 1 * kMs, delay_high = 5 * kMs, late_most = 2 * kSecond;
  Time trouble_every = 2 * kSecond;           // on average
  Time trouble_most = 8 * kSecond;            // how long it lasts
  std::array<uint64_t, kTroubles> weights{};  // 0: does not happen
  uint64_t aimed = 0;                         // of a thousand moments at which trouble does the most harm
  bool slow_disks = false;
  bool small_messages = false;    // an entry in each
  bool one_stays_broken = false;  // when the others are healed
  uint64_t clients = 3;
  Time think = 100 * kMs;     // between a client's operations, on average
  uint64_t reads = 500;       // of a thousand operations
  uint64_t ask_leader = 600;  // of a thousand operations: the client knows who leads
  uint64_t burst = 1;         // writes that follow each other at once, at most
  Time lasts = 60 * kSecond;
  raft::Index keep_entries = 20;
  uint32_t heartbeat_ticks = 2, election_ticks = 8;

  static Weather draw(Clockwork& clock);
  bool treats(const raft::Message& message) const { return (treated >> message.body.index() & 1) != 0; }
  bool late_for(raft::MemberId id) const { return (late_to >> id % 64 & 1) != 0; }
  // One of `among`, by weight. Nothing: none of them happens in this run.
  std::optional<Trouble> pick(Clockwork& clock, std::initializer_list<Trouble> among) const;
  std::string text() const;
};

}  // namespace sim

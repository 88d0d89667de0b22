#include "faults.h"

namespace sim {

namespace {

struct Kind {
  const char* name;
  uint8_t of;  // which simulators have it
  bool done = true;
};
constexpr uint8_t kCore = static_cast<uint8_t>(Simulator::core),
                  kStores = static_cast<uint8_t>(Simulator::stores), kBoth = kCore | kStores;
// In the order of Fault. The disk of the core is a model of whole transactions: nothing of it is torn, and a
// process does not end without its machine.
constexpr std::array<Kind, kFaults> kKinds = {{{"loss", kBoth},
                                               {"duplicate", kBoth},
                                               {"delay", kBoth},
                                               {"partition", kBoth},
                                               {"partition-one-way", kBoth},
                                               {"crash", kBoth},
                                               {"kill", kStores},
                                               {"stop", kStores},
                                               {"failpoint", kStores},
                                               {"pause", kBoth},
                                               {"stall", kBoth},
                                               {"full", kBoth},
                                               {"no-room", kCore},
                                               {"wipe", kBoth},
                                               {"rot", kBoth},
                                               {"drift", kBoth},
                                               {"clock-stop", kCore},
                                               {"clock-jump", kBoth},
                                               {"membership", kBoth},
                                               {"transfer", kBoth},
                                               {"reorder", kBoth, false},
                                               {"cut-off", kBoth, false},
                                               {"unsynced", kBoth, false},
                                               {"torn", kStores, false},
                                               {"rot-found", kBoth, false},
                                               {"restart", kBoth, false},
                                               {"snapshot", kBoth, false}}};

}  // namespace

void Faults::add(const Faults& other) {
  for (size_t i = 0; i < kFaults; ++i) counts_[i] += other.counts_[i];
}

uint64_t Faults::done() const {
  uint64_t out = 0;
  for (size_t i = 0; i < kFaults; ++i) out += kKinds[i].done ? counts_[i] : 0;
  return out;
}

std::string Faults::text(Simulator of) const {
  std::string out = "faults by kind:";
  bool done = true;
  for (size_t i = 0; i < kFaults; ++i) {
    const Kind& kind = kKinds[i];
    if ((kind.of & static_cast<uint8_t>(of)) == 0) continue;
    if (done && !kind.done) out += "; seen:";
    done = kind.done;
    out += std::string(" ") + kind.name + "=" + std::to_string(counts_[i]);
  }
  return out;
}

bool Paths::overtaken(limpet::raft::MemberId from, limpet::raft::MemberId to, uint64_t number) {
  uint64_t& came = paths_[{from, to}].came;
  if (number < came) return true;
  came = number;
  return false;
}

}  // namespace sim

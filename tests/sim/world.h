// One run: a group, its clients, and everything that goes wrong, drawn from one seed. First anything may
// break and nothing wrong may happen; then all is healed and the group must be of use again within a bound.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "history.h"
#include "member.h"
#include "roster.h"

namespace sim {

// How much of what; drawn from the seed, printed with a failure.
struct Weather {
  uint64_t members = 3;
  uint64_t lose = 0, duplicate = 0;  // of a thousand messages
  Time delay_low = 1 * kMs, delay_high = 5 * kMs;
  uint64_t delay_more = 0;           // of a thousand messages: up to two seconds
  Time trouble_every = 2 * kSecond;  // on average
  bool crash = false, cut = false, pause = false, stall = false, full = false, reconfigure = false,
       transfer = false, wipe = false, rot = false, jump = false;
  bool slow_disks = false;
  uint64_t clients = 3;
  Time think = 100 * kMs;  // between a client's operations, on average
  Time lasts = 60 * kSecond;
  raft::Index keep_entries = 20;

  static Weather draw(Clockwork& clock);
  std::string text() const;
};

struct Ledger {
  uint64_t operations = 0, reads = 0, acknowledged = 0, faults = 0, memberships = 0, snapshots = 0, terms = 0,
           messages = 0;
  Time time = 0;
  void add(const Ledger& other);
};

class World final : public Outside {
 public:
  World(uint64_t seed, bool trace);
  // Throws Breach.
  void run();
  const Ledger& ledger() const { return ledger_; }
  const Weather& weather() const { return weather_; }

  void send(raft::Message original) override;
  void trace(raft::MemberId id, const std::string& what) override;
  void read_done(raft::MemberId id, uint64_t read, raft::Index index) override;
  void applied(raft::MemberId id, const std::vector<raft::Entry>& entries) override;
  void withdrawn(raft::MemberId id, raft::Index first) override;

 private:
  struct Proposal {
    raft::Term term;
    History::Id operation;
  };
  struct Read {
    std::string key;
    Time begin;
    raft::Index index = 0;  // 0: not confirmed
  };
  struct Node {
    std::unique_ptr<Member> member;
    std::map<raft::Index, Proposal> proposals;
    std::map<uint64_t, Read> reads;
    bool replaced = false;  // the device is somebody else now
  };

  Node& add_member(raft::Membership membership);
  Node* pick();     // of those that run
  Node* leading();  // or thinks so
  void start(Node& node);
  void say(const std::string& what);
  void lost(const raft::Message& message);

  // clients
  void client(uint64_t number);
  void write(Node& node);
  void read(Node& node);
  void serve(Node& node);

  // trouble
  void trouble();
  void stop(Node& node);
  void start_later(Node& node);
  void crash_one();
  void cut_some();
  void pause_one();
  void stall_one();
  void fill_one();
  void reconfigure();
  void shuffle(raft::Membership& wanted);
  void ask(Node& leader, const raft::Membership& wanted);
  void transfer();
  void jump_one();
  void wipe_one();
  void rot_one();
  void replace(Node& node);
  void admit(raft::MemberId gone, raft::MemberId fresh, bool votes);
  bool connected(raft::MemberId from, raft::MemberId to) const { return !cuts_.contains({from, to}); }

  void heal();
  bool useful();
  void check_all_agree();

  Clockwork clock_;
  Checker checker_;
  History history_;
  Ledger ledger_;
  Weather weather_;
  bool trace_, calm_ = false;
  std::map<raft::MemberId, Node> nodes_;
  Roster roster_;
  std::set<std::pair<raft::MemberId, raft::MemberId>> cuts_;
  raft::MemberId next_id_ = 1;
  uint64_t next_value_ = 1;
  uint64_t acknowledged_calm_ = 0;
};

}  // namespace sim

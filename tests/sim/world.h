// One run: a group, its clients, and everything that goes wrong, drawn from one seed. First anything may
// break and nothing wrong may happen; then all is healed and the group must be of use again within a bound.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "faults.h"
#include "history.h"
#include "member.h"
#include "roster.h"
#include "weather.h"

namespace sim {

struct Ledger {
  uint64_t operations = 0, reads = 0, acknowledged = 0, memberships = 0, snapshots = 0, terms = 0,
           messages = 0;
  Faults faults;
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
  bool traces() const override { return trace_; }
  void trace(raft::MemberId id, const std::string& what) override;
  void read_done(raft::MemberId id, uint64_t read, raft::Index index) override;
  void applied(raft::MemberId id, const std::vector<raft::Entry>& entries) override;
  void withdrawn(raft::MemberId id, raft::Index first) override;
  void moment(raft::MemberId id) override;
  void fault(Fault kind) override { ledger_.faults.count(kind); }

 private:
  struct Proposal {
    raft::Term term;
    History::Id operation;
  };
  struct Read {
    std::string key;
    Time begin;
    raft::Index agreed = 0;  // on when it was asked for
    raft::Index index = 0;   // 0: not confirmed
  };
  struct Node {
    std::unique_ptr<Member> member;
    std::map<raft::Index, Proposal> proposals;
    std::map<uint64_t, Read> reads;
    bool started = false;   // at least once
    bool replaced = false;  // the device is somebody else now
    bool broken = false;    // and stays so when all others are healed
  };

  Node& add_member(raft::Membership membership);
  Node* pick();         // of those that run
  Node* pick_member();  // of those that belong to the group, too
  Node* leading();      // or thinks so
  void start(Node& node);
  void say(const std::string& what);
  void lost(const raft::Message& message);
  bool drops(const raft::Message& message, bool badly);
  void arrives(const raft::Message& message, uint64_t number);

  // clients
  void client(uint64_t number);
  void write(Node& node);
  void read(Node& node);
  void serve(Node& node);

  // trouble
  void trouble();
  void strike(Trouble what, Node& node);
  void stop(Node& node);
  void start_later(Node& node);
  void crash(Node& node);
  void cut(std::set<raft::MemberId> side);
  void pause(Node& node);
  void stall(Node& node);
  void fill(Node& node);
  void reconfigure(Node* leader);
  void shuffle(raft::Membership& wanted);
  void ask(Node& leader, const raft::Membership& wanted);
  void transfer(Node* leader);
  void jump(Node& node);
  void wipe(Node& node);
  void rot(Node& node);
  void replace(Node& node);
  void admit(raft::MemberId gone, raft::MemberId fresh, bool votes);
  bool connected(raft::MemberId from, raft::MemberId to) const;
  Time while_it_lasts() { return clock_.between(100 * kMs, weather_.trouble_most); }

  // afterwards
  void heal();
  void leave_one_broken();
  void break_for_good(Node& node, Trouble how);
  bool useful();
  void read_all_once_more();
  void check_stored_by_majority(const raft::Entry& entry);

  Clockwork clock_;
  Checker checker_;
  History history_;
  Ledger ledger_;
  Weather weather_;
  bool trace_, calm_ = false;
  std::map<raft::MemberId, Node> nodes_;
  Roster roster_;
  std::set<std::pair<raft::MemberId, raft::MemberId>> cuts_;
  std::set<raft::MemberId> deaf_, mute_;  // for good
  Paths paths_;
  raft::Index majority_has_ = 1;  // what was looked after
  raft::MemberId next_id_ = 1;
  uint64_t next_value_ = 1;
  uint64_t acknowledged_calm_ = 0;
};

}  // namespace sim

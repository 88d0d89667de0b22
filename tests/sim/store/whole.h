// One run of whole stores: the shell that a daemon has, its SQLite file on a disk whose unsynced writes a
// power cut loses or tears, its watches, in virtual time, drawn from one seed. sim_raft looks into the core
// and has a model of all this; here only what clients see counts: what was acknowledged is there, reads are
// linearizable, watches are exact, a file is opened again after whatever happened to it. Then all is healed.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../../unit/store/disk.h"
#include "base/clock.h"
#include "breach.h"
#include "faults.h"
#include "history.h"
#include "process.h"
#include "roster.h"
#include "sent.h"
#include "store/consensus.h"
#include "store/store.h"

namespace sim {

namespace store = limpet::store;

struct Device {
  size_t number = 0;
  std::string dir;      // with a slash at its end
  std::string next;     // what the power cut left; empty: the file stays as it is
  std::string cluster;  // that it joins
  raft::MemberId id = 0;
  bool started = false;  // at least once
  bool rotten = false;   // damage may be found in its file
  bool gone = false;     // it is another device now
  bool closing = false, closed = false;
  std::shared_ptr<Process> process;
  std::unique_ptr<limpet::loop::Loop> loop;
  std::unique_ptr<store::Store> store;
  store::Consensus::Subscription standing;
  limpet::ManualClock clock;

  bool runs() const { return store && process->alive(); }
  bool asked() const { return runs() && !process->paused(); }  // somebody can talk to it
};

// Somebody who watches everything, wherever that can be watched.
struct Viewer {
  size_t number = 0;
  Device* at = nullptr;
  std::unique_ptr<store::Watch> watch;
  uint64_t attached = 0;  // counts; what an earlier one tells is of no interest
  store::Revision last = 0;
  bool lists = true;
  std::map<std::string, std::pair<store::Revision, std::string>> state;
};

class Whole {
 public:
  Whole(uint64_t seed, bool trace, limpet::store::test::Disk& disk);
  ~Whole();
  void run();  // throws Breach
  const std::string& weather() const { return weather_; }
  static Faults faults;  // of all runs
  static uint64_t operations, commits, seen, snapshots;
  static Time passed;

 private:
  // devices.cc
  Device& add(std::string cluster);
  void start(Device& d);
  void connect(Device& d);
  void ended(Device& d);  // its process is gone: the pieces go, and it starts again
  void exits(Device& d);
  void closed(Device& d);
  void stops(Device& d, const limpet::Error& error);
  void replace(Device& d);
  void join_later();
  void send(const Device& from, raft::MemberId to, std::string bytes);
  void arrives(raft::MemberId from, raft::MemberId to, const std::string& bytes, uint64_t number);
  Device* by_id(raft::MemberId id);
  Device* some();
  Device* leader();
  void look();  // which memberships are agreed on
  void rot(const std::string& file);

  // clients.cc
  void client();
  void write(Device& d);
  void change(Device& d);
  void read(Device& d);
  void answered(Device& d, History::Id id, const std::string& value,
                const limpet::Result<store::Committed>& r);

  // viewers.cc
  void attach(Viewer& v);
  void listed(Viewer& v, Device& d, const store::Page& page);
  void follow(Viewer& v, Device& d);
  void told(Viewer& v, std::span<const store::Event> events);
  void one(Viewer& v, const store::Event& e);
  void lost(Viewer& v, bool expired);
  void leave(Device& d);
  void check_state(const Viewer& v, const std::string& where);
  void check_positions();

  // trouble.cc
  void trouble();
  void cut();
  void arm(Process& p);
  void manage();
  void ask(Device& l, const raft::Membership& wanted);
  void heal();
  bool useful();

  void breach(const std::string& what);
  void say(const std::string& what);
  void fault(Fault kind) { faults.count(kind); }

  Clockwork clock_;
  bool trace_;
  limpet::store::test::Disk& disk_;
  std::string place_, weather_, breach_;
  std::vector<std::unique_ptr<Device>> devices_;
  size_t wanted_;
  store::Options shape_;
  uint64_t lose_, twice_, late_;
  Time trouble_every_;
  std::set<std::string> kinds_;  // of trouble
  std::set<std::pair<raft::MemberId, raft::MemberId>> cuts_;
  Paths paths_;
  Sent sent_;
  bool calm_ = false, tired_ = false;  // healed; and nobody writes any more
  size_t dirs_ = 0;
  Roster roster_;
  std::map<raft::Term, raft::MemberId> leaders_;
  History history_;
  uint64_t next_value_ = 1, acknowledged_calm_ = 0;
  std::vector<std::unique_ptr<Viewer>> viewers_;
  std::map<store::Revision, std::string> told_;    // what happened in each revision
  std::map<store::Revision, std::string> states_;  // what was there after it
};

}  // namespace sim

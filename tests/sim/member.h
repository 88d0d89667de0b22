// A member of the simulated group: the real core in the shell that a daemon has, on a model disk.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "checker.h"
#include "faults.h"
#include "store/replica.h"

namespace sim {

// What a member needs of the world.
class Outside {
 public:
  virtual ~Outside() = default;
  virtual void send(raft::Message message) = 0;
  virtual bool traces() const = 0;  // else nothing of it need be put into words
  virtual void trace(raft::MemberId id, const std::string& what) = 0;
  virtual void read_done(raft::MemberId id, uint64_t read, raft::Index index) = 0;
  virtual void applied(raft::MemberId id, const std::vector<raft::Entry>& entries) = 0;
  virtual void withdrawn(raft::MemberId id, raft::Index first) = 0;
  // This member has just done what trouble does the most harm to: begun to lead, taken a membership into its
  // log, stored the last of a snapshot, installed one.
  virtual void moment(raft::MemberId id) = 0;
  virtual void fault(Fault kind) = 0;  // what a member does to itself
};

class Member final : public store::Replica::Host {
 public:
  struct Shape {
    raft::Options options;
    Time tick = 100 * kMs;
    raft::Index keep_entries = 20;  // when it compacts its log
    size_t chunk_bytes = 64;
    bool lazy = false;
  };
  Member(Clockwork& clock, Checker& checker, Outside& outside, Shape shape, Disk::Speed speed);

  raft::MemberId id() const { return shape_.options.self; }
  // False: what is on the disk is not what was written.
  bool start();
  bool crash();  // true: something that was written is lost
  void pause_until(Time when) { paused_until_ = when; }
  void stop_clock_until(Time when) { clock_stops_until_ = when; }
  void jump(uint64_t ticks);  // all at once
  void heal() { paused_until_ = clock_stops_until_ = 0; }
  bool running() const { return replica_ != nullptr; }
  bool waits_for_room() const { return replica_->waits_for_room(); }
  // For so long that a store would propose nothing more (Durable::holds_back).
  bool disk_hangs() const { return replica_->busy() && clock_.now() - writing_since_ > shape_.tick / 2; }
  bool paused() const { return paused_until_ > clock_.now(); }
  Disk& disk() { return disk_; }
  raft::Raft& raft() { return replica_->core(); }
  const raft::Raft& raft() const { return replica_->core(); }

  raft::Index applied_index() const { return replica_->applied().index; }

  void receive(raft::Message message);
  // Does something to the core, then whatever follows from it.
  template <class What>
  auto with(const What& what) {
    const auto out = what(replica_->core());
    pump();
    return out;
  }

 private:
  struct Snapshot {
    raft::SnapshotMeta meta;
    std::string bytes;
  };
  // What the shell asks of its host.
  bool prepare(const std::vector<raft::Entry>& entries) override;
  void write(const store::Transaction& t, store::Replica::Done done) override;
  void applied() override;
  void withdrawn(raft::Index first, const limpet::Error& error) override;
  void no_room(const limpet::Error& error) override;
  void installed(const raft::SnapshotMeta& meta) override;
  void send(raft::Message message) override;
  void read_entries(const raft::EntriesWanted& wanted) override;
  void read_chunk(const raft::ChunkWanted& wanted) override;
  void read_done(const raft::ReadDone& read) override;
  void standing(const raft::Standing& standing) override;
  void complaint(const std::string& what) override;
  void trace(const raft::Batch& batch) override;

  void tick();
  void pump();
  void note_log(const raft::Batch& batch);
  void note_entry(const raft::Entry& entry);
  void note_stored(const std::vector<raft::Entry>& entries);
  void note_silence();
  void compact();
  // A callback that is dropped when the member has crashed meanwhile.
  template <class What>
  auto alive(What what) {
    return [this, life = life_, what = std::move(what)](auto&&... arguments) mutable {
      if (life == life_) what(std::forward<decltype(arguments)>(arguments)...);
    };
  }

  Clockwork& clock_;
  Checker& checker_;
  Outside& outside_;
  Shape shape_;
  Disk disk_;
  std::unique_ptr<store::Replica> replica_;
  uint64_t life_ = 0;
  Time paused_until_ = 0, clock_stops_until_ = 0;
  bool pump_waits_ = false;
  raft::MemberId followed_ = 0;                          // whom it takes for the leader
  uint64_t silent_ticks_ = 0;                            // of its own clock, since it heard of that one
  std::map<raft::Index, raft::Term> log_;                // the terms of the log as the core has it
  std::map<raft::Index, raft::Membership> memberships_;  // in it, and the one before
  std::vector<Snapshot> snapshots_;                      // what peers are being sent
  std::vector<raft::Entry> prepared_;                    // being applied
  std::vector<raft::Entry> skipped_;                     // applied since, and nothing written for them
  Time writing_since_ = 0;                               // when the last transaction was begun
  bool wrote_ = false;                                   // what is prepared is in the file
};

}  // namespace sim

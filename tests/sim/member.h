// A member of the simulated group: the real core with the host loop that a daemon has, on a model disk.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "checker.h"
#include "raft/raft.h"

namespace sim {

// What a member needs of the world.
class Outside {
 public:
  virtual ~Outside() = default;
  virtual void send(raft::Message message) = 0;
  virtual void trace(raft::MemberId id, const std::string& what) = 0;
  virtual void read_done(raft::MemberId id, uint64_t read, raft::Index index) = 0;
  virtual void applied(raft::MemberId id, const std::vector<raft::Entry>& entries) = 0;
};

class Member {
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
  void start();
  void crash();
  void pause_until(Time when) { paused_until_ = when; }
  bool running() const { return raft_ != nullptr; }
  bool paused() const { return paused_until_ > clock_.now(); }
  Disk& disk() { return disk_; }
  raft::Raft& raft() { return *raft_; }
  const raft::Raft& raft() const { return *raft_; }

  void receive(raft::Message message);
  // Does something to the core, then whatever follows from it.
  template <class What>
  auto with(const What& what) {
    const auto out = what(*raft_);
    pump();
    return out;
  }

 private:
  struct Snapshot {
    raft::SnapshotMeta meta;
    std::string bytes;
  };
  void tick();
  void pump();
  void pump_now();
  void stage(const raft::SnapshotChunk& chunk);
  void perform(raft::Batch batch);
  void store(const raft::Batch& batch);
  void note_log(const raft::Batch& batch);
  void done(raft::Batch batch);
  void read_entries(const raft::EntriesWanted& wanted);
  void read_chunk(const raft::ChunkWanted& wanted);
  void compact();
  // A callback that is dropped when the member has crashed meanwhile.
  template <class What>
  auto alive(What what) {
    return [this, life = life_, what = std::move(what)]() mutable {
      if (life == life_) what();
    };
  }

  Clockwork& clock_;
  Checker& checker_;
  Outside& outside_;
  Shape shape_;
  Disk disk_;
  std::unique_ptr<raft::Raft> raft_;
  uint64_t life_ = 0;
  Time paused_until_ = 0;
  bool pump_waits_ = false;
  std::map<raft::Index, raft::Term> log_;  // the terms of the log as the core has it
  std::vector<Snapshot> snapshots_;        // what peers are being sent
};

}  // namespace sim

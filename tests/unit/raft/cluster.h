// A group of cores on the table, moved by hand: the vocabulary of scenarios/*.txt.
//
//   group 1,2,3 [learners 4]   members with empty disks that know each other
//   join 5                     a member that knows nobody
//   campaign N                 as if N's election timeout had passed
//   tick N K                   K ticks of N
//   deliver [A->B [K]]         messages, in order, until there are none or K of them (* stands for everybody)
//   drop A->B    again A->B    those that wait: loses them, sends them twice
//   append A->B TERM PREV@TERM COMMIT [INDEX@TERM[=TEXT]...]   an Append that A may send, or may have sent
//   unreachable N M            N's connection to M was lost
//   propose N TEXT    read N    transfer N TO    reconfigure N 1,2 [learners 3]
//   disk N slow|fast           slow: nothing is stable before "sync N"
//   sync N    crash N (loses what is not stable)    start N
//   compact N INDEX            the entries up to INDEX leave N's log
//   log N    status N
//   mute    unmute             set-up that is not the point
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "disk.h"
#include "raft/raft.h"

namespace scenario {

namespace raft = limpet::raft;

class Cluster {
 public:
  // What it led to, in lines. Throws std::runtime_error for a command that is none.
  std::string run(const std::string& command);

 private:
  struct Node {
    std::unique_ptr<raft::Raft> core;
    sim::Contents live, stable;
    std::deque<raft::Batch> waiting;  // on a slow disk
    bool slow = false;
  };
  using Words = std::vector<std::string>;
  void dispatch(const Words& words);
  void ask(const Words& words);
  void append(const Words& words);
  void inspect(const Words& words);
  void group(const Words& words);
  void start(raft::MemberId id);
  void deliver(const std::string& path, uint64_t most);
  void drop(const std::string& path);
  void pump(raft::MemberId id);
  void perform(raft::MemberId id, raft::Batch batch);
  void finish(Node& node, const raft::Batch& batch);
  void read_chunk(Node& node, const raft::ChunkWanted& wanted);
  void sync(raft::MemberId id);
  Node& node(const std::string& word);
  void say(const std::string& lines, const std::string& prefix = "");

  std::map<raft::MemberId, Node> nodes_;
  std::deque<raft::Message> wire_;
  std::string out_;
  bool muted_ = false;
};

}  // namespace scenario

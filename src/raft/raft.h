// One member of a raft group as a state machine without a world: inputs are messages, ticks and completions
// of what it asked for; output is a Batch. It reads no clock, opens nothing, and its only randomness is the
// seed it was given.
//
//   Raft raft(options, start);             what the disk holds
//   raft.receive(message); raft.tick(); raft.propose(bytes); ...
//   for (Batch b = raft.take(); !b.empty(); b = raft.take()) { do it; raft.persisted(...) when that is so; }
//
// Rules of the paper and the thesis that it keeps, and where:
//   election, pre-vote, check-quorum, transfer         election.cc
//   log replication, flow control, the commit rule     follower.cc, leader.cc
//   membership by joint consensus                      reconfigure.cc
//   linearizable reads                                 reads.cc
//   snapshots                                          snapshot.cc
// Storage is asynchronous: batches are numbered, the host may have several under way, in order. A message
// waits in the outbox until all that it promises is stable; that rule stands in send() alone.
//
// Leases do not serve reads: that would rest on clocks of devices that have none (the check-quorum lease only
// refuses votes, where a wrong clock costs time and nothing else).
#pragma once

#include <map>

#include "base/random.h"
#include "raft/log.h"
#include "raft/progress.h"
#include "raft/types.h"

namespace limpet::raft {

struct Options {
  MemberId self = 0;
  uint64_t seed = 0;                     // for election timeouts and ids of reads; another one at each start
  uint32_t heartbeat_ticks = 1;          // below election_ticks
  uint32_t election_ticks = 10;          // a follower waits for one to two times this
  size_t max_message_bytes = 64u << 10;  // of one Append's entries
  size_t max_window_messages = 32;       // to one peer, not answered
  size_t max_window_bytes = 512u << 10;
  size_t max_pending_bytes =
      8u << 20;  // not agreed on, or (twice that) not applied: more proposals are refused
  size_t max_cache_bytes = 1u << 20;  // entries kept in memory for others, once applied and stored
  size_t max_apply_bytes = 1u << 20;  // handed to the state machine and not taken yet
  size_t max_reads = 4096;            // not confirmed
};

struct PeerStatus {
  MemberId id = 0;
  ProgressState state = ProgressState::probe;
  Index match = 0;         // on its stable storage
  Index next = 0;          // what it is sent next
  SnapshotPoint snapshot;  // being sent: the log after it should be kept, within a bound
  bool active = false;
};

struct Status {
  Standing standing;
  Index commit = 0, applied = 0, last = 0;
  Membership membership;
  Index membership_index = 0;
  MemberId transfer_to = 0;
  std::vector<PeerStatus> peers;  // a leader's
};

// Whether a disk may say that: `corrupt` when the tail has a hole, terms fall, a membership cannot be read,
// or what belongs together is not there together; `unsupported` when a newer limpet wrote it. To be asked
// before a Raft is made of it.
Result<> check(const Start& start);

class Raft {
 public:
  Raft(Options options, Start start);

  // ---- inputs ----
  void tick();
  void receive(Message message);
  void persisted(uint64_t sequence);  // this batch and all before it
  // The state machine has taken the entries up to this one. Of a batch with a sequence never before
  // persisted().
  void applied(Index index);
  void entries_read(EntriesRead read);
  void chunk_read(ChunkRead read);
  void chunk_stored(bool ok);       // what Batch::stage asked for; false: it could not be
  void chunk_refused();             // it cannot belong to what is staged: the snapshot begins anew
  void unreachable(MemberId peer);  // what was sent to it is probably lost

  // A leader appends it; it is applied once a majority has it, or never. `unavailable`: certainly not done.
  Result<Index> propose(SharedBytes bytes);
  // Asks for these voters and learners (not joint). `unavailable`: not the leader, or a change is under way,
  // or none was committed yet in this term. `invalid_argument` as check() has it.
  Result<Index> reconfigure(const Membership& wanted);
  // Hands leadership to a voter; given up after an election timeout. Proposals are refused meanwhile.
  Result<> transfer(MemberId to);
  // Begins an election now, as if the timeout had passed. Nothing happens when it may not vote.
  void campaign();
  // The id under which ReadDone will tell. `unavailable`: no leader is known, or too many are waiting.
  Result<uint64_t> read();

  // ---- output ----
  // `storage`: with what is to be stored and applied. Without, for a host whose disk is at work: that waits
  // and grows into one batch, while messages leave.
  Batch take(bool storage = true);
  // The batch with this sequence, the only one under way, was not stored for want of room and will not be. A
  // member that is all of its group forgets the entries that were to be stored, of that batch and since:
  // nobody else can have seen them. They may be proposed again. False: others may have them, the batch must
  // be stored.
  bool withdraw(uint64_t sequence);
  Status status() const;
  const Standing& standing() const { return standing_; }
  const Membership& membership() const { return memberships_.back().membership; }
  // As of the last entry that is applied.
  const Membership& applied_membership() const { return memberships_.front().membership; }
  // Leads a group that is nobody else: what it appends is applied in the same batch, and need not be kept.
  bool alone() const;

 private:
  struct Follower {};
  struct Candidate {
    bool pre = false;
    bool force = false;
    std::map<MemberId, bool> votes;
    uint64_t own_vote_after = 0;  // the batch that makes it stable; 0: counted
  };
  struct PendingRead {
    uint64_t id = 0;
    MemberId from = 0;
    Index index = 0;     // 0: nothing of this term is committed yet
    uint64_t round = 0;  // the heartbeat whose answers confirm it
  };
  struct Leader {
    std::map<MemberId, Progress> peers;
    Index own_match = 0;   // on this member's own stable storage
    Index term_start = 0;  // the entry that began the term
    uint64_t round = 0;
    bool news = false;  // to be sent with the next take(): an Append carries all of one turn
    std::deque<PendingRead> reads;
    MemberId transfer_to = 0;  // 0: none
    bool transfer_sent = false;
    uint32_t transfer_ticks = 0;
  };
  struct KnownMembership {
    Index index = 0;
    Membership membership;
  };
  struct Held {
    Message message;
    uint64_t after = 0;  // the batch that must be stable first
  };
  struct Asked {
    uint64_t id = 0;
    uint32_t ticks = 0;
  };
  struct Issued {
    uint64_t sequence = 0;
    Term term = 0;
    Index last = 0;
    bool alone = false;  // and what the log held then is agreed on with it
    Index first = 0;     // of the entries in it; 0: none
    HardState before;    // what was stored until then
  };
  // What must be stable before a message leaves.
  enum class After : uint8_t { nothing, term, everything };

  // raft.cc
  void set_term(Term term, MemberId vote);
  void set_leader(MemberId leader);
  void become_follower(Term term, MemberId leader);
  bool dirty() const;
  void send(MemberId to, Body body, After after = After::term);
  void send_in(Term term, MemberId to, Body body, After after);
  void hand_out_storage(Batch& batch);
  void hand_out_log(Batch& batch);
  void hand_out_messages(Batch& batch);
  void hand_out_entries(Batch& batch);
  void complain(std::string what);
  void complain(const char* what, const Message& m);
  void reset_timer();
  bool settle_term(const Message& message);
  Leader* leader() { return std::get_if<Leader>(&role_); }
  Candidate* candidate() { return std::get_if<Candidate>(&role_); }

  // election.cc
  void tick_election();
  void start_election(bool pre, bool force);
  bool may_lead() const;
  void count_vote(MemberId from, bool granted);
  void become_leader();
  void on_vote(const Message& m, const Vote& vote);
  void on_vote_reply(const Message& m, const VoteReply& reply);
  void on_timeout_now(const Message& m);
  bool leased(const Vote& vote) const;

  // follower.cc
  bool heed(MemberId leader);
  void on_append(const Message& m, Append append);
  bool well_formed(const Message& m, const Append& append);
  bool skip_committed(const Message& m, Append& append);
  bool take_entries(const Message& m, Append& append);
  void on_heartbeat(const Message& m, const Heartbeat& heartbeat);
  void commit_to(Index index);

  // leader.cc
  void tick_leader();
  void check_quorum();
  void hand_over_if_stalled();
  void advance_transfer();
  void append_own(EntryKind kind, SharedBytes bytes);
  void broadcast();
  void broadcast_heartbeat();
  void replicate(MemberId id, Progress& peer, bool even_empty);
  void send_append(MemberId id, Progress& peer, Index prev, Term prev_term, std::vector<Entry> entries);
  void on_append_reply(const Message& m, const AppendReply& reply);
  void on_refusal(MemberId id, Progress& peer, const AppendReply& reply);
  void on_heartbeat_reply(const Message& m, const HeartbeatReply& reply);
  void advance_commit();
  void committed(Index before);
  Progress* progress(MemberId id);

  // reconfigure.cc
  void learn_membership(Index index, const Membership& membership);
  void forget_memberships_from(Index index);
  void adjust_peers();
  void finish_membership();

  // reads.cc
  void on_read_index(const Message& m, const ReadIndex& read);
  void on_read_index_reply(const ReadIndexReply& reply);
  void begin_round();
  void confirm_reads();
  void answer(const PendingRead& read, Index index);
  void fail_reads();
  void tick_reads();

  // snapshot.cc
  void begin_snapshot(MemberId id, Progress& peer);
  void on_snapshot_offer(const Message& m);
  void on_snapshot_chunk(const Message& m, SnapshotChunk chunk);
  void on_snapshot_reply(const Message& m, const SnapshotReply& reply);
  void tick_snapshot(MemberId id, Progress& peer);
  bool not_needed(const SnapshotPoint& point);
  void reply_staged();
  void drop_overtaken();
  void install(SnapshotMeta meta);

  Options options_;
  SeededRandom random_;

  // Stable, or about to be.
  HardState hard_;
  Log log_;
  std::deque<KnownMembership> memberships_;  // by index; the last one counts (paper section 6)
  std::optional<Staged> staged_;

  // Volatile.
  Index commit_ = 0;
  Index applied_ = 0;
  Index handed_out_ = 0;  // for applying
  Standing standing_;
  std::variant<Follower, Candidate, Leader> role_;
  uint32_t elapsed_ = 0;  // ticks: since a follower heard its leader, since a leader checked its quorum
  uint32_t since_heartbeat_ = 0;
  uint32_t since_look_ = 0;  // for peers that are stuck; heartbeats of reads do not count here
  uint32_t timeout_ = 0;     // of this member, this time
  uint64_t next_read_ = 0;
  std::deque<Asked> asked_;  // reads that wait for the leader's answer

  // Storage.
  HardState issued_hard_;
  Index issued_last_ = 0;  // the log as the last batch left it
  std::optional<SnapshotMeta> install_;
  std::optional<SnapshotChunk> stage_;  // to be handed out
  std::optional<Staged> staging_;       // what will be staged once the chunk under way is stored
  bool unstage_ = false;
  uint64_t issued_ = 0, persisted_ = 0;
  uint64_t term_after_ = 0;  // the batch that makes the term stable
  std::deque<Issued> under_way_;
  uint32_t stalled_ticks_ = 0;

  // Output.
  std::deque<Held> outbox_;
  std::vector<EntriesWanted> entries_wanted_;
  std::vector<ChunkWanted> chunks_wanted_;
  std::vector<ReadDone> reads_;
  std::vector<std::string> complaints_;
  Standing told_;
};

}  // namespace limpet::raft

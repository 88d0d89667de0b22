// The words of the consensus core: ids, entries, messages, and the two values that pass between the core and
// its host, Start (what the disk holds) and Batch (what is to be done). All are plain values.
//
// Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version, the
// paper below), and Ongaro's dissertation (the thesis).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "raft/membership.h"

namespace limpet::raft {

using Term = uint64_t;   // 0: before any election
using Index = uint64_t;  // of a log entry; the first is 1

// No group lives so long: a peer that sends more is broken, and sums stay below 2^64.
constexpr uint64_t kMaxIndex = uint64_t{1} << 62;
constexpr uint64_t kMaxTermsAhead = uint64_t{1} << 32;  // of a message, of its receiver's term

// An entry has to fit into a message (codec.h).
constexpr size_t kMaxEntryBytes = 31u << 20;

enum class EntryKind : uint8_t {
  normal = 0,      // the state machine's; empty bytes: what a new leader begins its term with
  membership = 1,  // encode(Membership); counts from when it is in the log (paper section 6)
};

struct Entry {
  Index index = 0;
  Term term = 0;
  EntryKind kind = EntryKind::normal;
  SharedBytes bytes;  // never null

  // What one entry is counted as, wherever bytes are bounded.
  size_t cost() const { return bytes->size() + 32; }
};

// What must be on stable storage before a member speaks in that term (paper figure 2, "Persistent state").
struct HardState {
  Term term = 0;
  MemberId vote = 0;  // 0: nobody
  bool operator==(const HardState&) const = default;
};

// A state of the state machine, by the last entry that is in it.
struct SnapshotPoint {
  Index index = 0;  // 0: none
  Term term = 0;
  bool operator==(const SnapshotPoint&) const = default;
};

struct SnapshotMeta {
  SnapshotPoint point;
  Membership membership;  // as of that entry
  bool operator==(const SnapshotMeta&) const = default;
};

// A snapshot that is being received, as far as it is stored. Cursors are the sending host's words, opaque
// here and, to whoever gets them back, bytes of a peer: another leader's host must be able to tell whether it
// can go on there. The empty one is the beginning.
struct Staged {
  SnapshotMeta meta;
  std::string cursor;
  bool complete = false;
};

// ---- messages ----

struct Append {
  Index prev_index = 0;
  Term prev_term = 0;
  Index commit = 0;
  std::vector<Entry> entries;  // from prev_index + 1 on; empty: a probe, or news of the commit
};

struct AppendReply {
  Index match = 0;     // accepted: everything up to here is on the sender's stable storage
  Index rejected = 0;  // not 0: the prev_index that was refused, with where the logs may agree
  Index hint = 0;
  Term hint_term = 0;
};

// Keeps followers quiet and, by its round, proves to the leader that it still is one (thesis 6.4).
struct Heartbeat {
  Index commit = 0;
  uint64_t round = 0;
};

struct HeartbeatReply {
  uint64_t round = 0;
};

struct Vote {
  bool pre =
      false;  // asks only whether it would be granted (thesis 9.6); the message's term is the one to come
  bool force = false;  // the leader itself asked for this election: its lease does not count
  Index last_index = 0;
  Term last_term = 0;
};

struct VoteReply {
  bool pre = false;
  bool granted = false;
};

// "What do you hold of a snapshot?" The follower's log ends before what the leader still has.
struct SnapshotOffer {};

struct SnapshotChunk {
  SnapshotMeta meta;
  std::string cursor;  // where these bytes begin; empty: forget what is staged
  std::string next;    // where the following ones do
  bool last = false;
  SharedBytes bytes;  // never null
};

struct SnapshotReply {  // what is staged
  SnapshotPoint point;
  std::string cursor;
};

struct TimeoutNow {};  // leadership transfer (thesis 3.10)

struct ReadIndex {
  uint64_t id = 0;
};

struct ReadIndexReply {
  uint64_t id = 0;
  Index index = 0;  // 0: refused, not the leader
};

using Body = std::variant<Append, AppendReply, Heartbeat, HeartbeatReply, Vote, VoteReply, SnapshotOffer,
                          SnapshotChunk, SnapshotReply, TimeoutNow, ReadIndex, ReadIndexReply>;

struct Message {
  MemberId from = 0;
  MemberId to = 0;
  Term term = 0;
  Body body;
};

// ---- what passes between core and host ----

// What the disk holds when a member starts. Everything zero: it waits to be told by a leader. A group begins
// with the state {1, 1} and its first membership, and an empty log: whoever has nothing gets a snapshot,
// never a log that does not say who the first members were.
struct Start {
  HardState hard_state;
  SnapshotPoint applied;       // the state machine's last entry
  Membership membership;       // as of `applied`
  Index membership_index = 0;  // of the entry that brought it
  std::vector<Entry> tail;     // all entries after `applied`
  std::optional<Staged> staged;
};

// Entries that left memory, for a follower that is behind. Answered once, by Raft::entries_read().
struct EntriesWanted {
  MemberId peer = 0;
  Index after = 0;       // with the term of this entry
  Index upto = 0;        // inclusive
  size_t max_bytes = 0;  // by Entry::cost(); at least one entry
};

struct EntriesRead {
  MemberId peer = 0;
  Index after = 0;
  Term after_term = 0;         // 0: this entry or a later one is not in the log any more
  std::vector<Entry> entries;  // at least one, when after_term is not 0
};

// The next part of a snapshot for a peer. Answered once, by Raft::chunk_read().
struct ChunkWanted {
  MemberId peer = 0;
  SnapshotPoint point;  // what the peer has begun with; a host that cannot go on with it begins a newer one
  std::string cursor;
};

struct ChunkRead {
  MemberId peer = 0;
  SnapshotChunk chunk;  // point.index 0: nothing can be read now, ask again later
};

// A read that was asked for is settled.
struct ReadDone {
  uint64_t id = 0;
  Index index = 0;  // serve it once this is applied; 0: not confirmed, ask again
};

enum class Role : uint8_t { follower, candidate, leader };

struct Standing {
  Term term = 0;
  Role role = Role::follower;
  MemberId leader = 0;  // 0: not known
  bool operator==(const Standing&) const = default;
};

// What is to be done now. The order of the host's work: one transaction with hard_state, install, append and
// apply in this order, after those of all batches before; persisted(sequence) when it is on stable storage;
// after that, applied() when the state machine has taken the entries. A transaction that fails is tried again
// whole, or nothing after it happens. Applying an entry of a membership stores that and its index beside the
// state. The log may lose entries that are applied, but keeps the term of the last one that it lost. Messages
// may leave at once, in any order: none promises what is not yet stable. What became of a proposal: it is
// done when its index is applied with its term; with another term it certainly is not; when a snapshot covers
// its index, nobody knows.
struct Batch {
  uint64_t sequence = 0;  // 0: nothing to store
  std::optional<HardState> hard_state;
  std::optional<SnapshotMeta> install;  // the staged snapshot becomes the state, the log is empty after it
  std::vector<Entry> append;            // the log ends before the first one's index and goes on with these
  std::vector<Entry> apply;             // never with install
  std::vector<Message> messages;
  std::optional<SnapshotChunk>
      stage;             // to be stored beside the state; then chunk_stored(). Never with install
  bool unstage = false;  // what is staged is of no use any more
  std::vector<EntriesWanted> entries_wanted;
  std::vector<ChunkWanted> chunks_wanted;
  std::vector<ReadDone> reads;
  std::optional<Standing> standing;     // when it has changed
  std::vector<std::string> complaints;  // what peers sent that no correct member sends: to be logged

  bool empty() const;
};

// One line a part, for traces and tests.
std::string to_string(const Entry& entry);
std::string to_string(const Message& message);
std::string to_string(const Batch& batch);

}  // namespace limpet::raft

// Revisioned key-value state: what etcd is to Kubernetes, in one SQLite file.
//
// A Space is a flat, ordered set of keys with values and revisions. There are two: the durable one (SQLite;
// an acknowledged commit is on stable storage) and the volatile one (memory of this process; its own revision
// line, raft term x 2^32 + counter, so that revisions of an older term are told apart and get `expired`). The
// volatile one is the leader's alone: all of its calls answer `unavailable` on a member that does not lead,
// its watches get on_lost when the lead is lost, and a new leader begins with nothing in it.
//
// Keys are paths without a leading slash: "pods/default/web", "nodes/edge-1", "deployments.apps/default/web".
// A revision grows by one with each commit that changed something; a key's mod_revision is its
// resourceVersion.
//
// All calls and callbacks are on the loop's thread; a callback may come before the call returns (value in
// memory). The storage thread owns the only SQLite connection and is spoken to by messages.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "loop/loop.h"

namespace limpet::store {

using Revision = int64_t;

struct Item {
  std::string key;
  Revision create_revision = 0;
  Revision mod_revision = 0;
  SharedBytes value;
};

struct Op {
  enum class Type { put, remove } type = Type::put;
  std::string key;
  std::string value;  // put only
  // The key must have this mod_revision for the transaction to apply; 0: the key must not exist; nullopt:
  // anything.
  std::optional<Revision> expect;
};

// All operations or none. Keys in one transaction are distinct.
struct Txn {
  std::vector<Op> ops;
  // Not 0: decided by whoever led in this raft term, and done in no other: `unavailable` unless this member
  // leads in it at the moment in which the transaction is proposed.
  uint64_t term = 0;
};

struct Committed {
  Revision revision = 0;  // of every change in the transaction
};

struct Page {
  std::vector<Item> items;  // ordered by key
  Revision revision = 0;    // of the whole list
  bool more = false;
  int64_t remaining = 0;  // items after this page; an estimate when `revision` is not the newest
};

struct Event {
  enum class Type { created, modified, deleted } type = Type::created;
  std::string key;
  Revision revision = 0;
  SharedBytes value;     // deleted: the last value
  SharedBytes previous;  // modified: the value before
};

// A position in the history of one prefix. The history is shared and bounded, so a watcher costs a cursor: a
// slow one that falls off the end gets on_lost and must list again. Destroying it ends it.
class Watch {
 public:
  struct Sink {
    // In revision order, nothing missed or doubled; events of one transaction come in one call.
    std::function<void(std::span<const Event>)> on_events;
    // `expired`: compacted away. Last call.
    std::function<void(Error)> on_lost;
  };
  virtual ~Watch() = default;
  virtual void pause() = 0;  // back-pressure
  virtual void resume() = 0;
  // Everything up to here has been delivered (for bookmarks).
  virtual Revision position() const = 0;
};

class Space {
 public:
  virtual ~Space() = default;

  // Errors: conflict (a precondition failed; nothing was changed), exhausted (disk full), unavailable
  // (stopping, not the leader, overwritten by another one: certainly not done), timeout (proposed, and the
  // lead was lost before it was agreed on: nobody knows), corrupt.
  virtual void commit(Txn txn, std::function<void(Result<Committed>)> done) = 0;

  virtual void get(const std::string& key, std::function<void(Result<std::optional<Item>>)> done) = 0;

  // Items with prefix <= key and key > after, at `revision` (0: now). limit 0 means 200, which is also the
  // most. Errors: expired (compacted), invalid_argument (a revision of the future).
  virtual void list(const std::string& prefix, const std::string& after, Revision revision, size_t limit,
                    std::function<void(Result<Page>)> done) = 0;
  virtual int64_t count(const std::string& prefix) const = 0;  // now

  // Events with revision > after. Errors as list.
  virtual Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after,
                                               Watch::Sink sink) = 0;

  virtual Revision revision() const = 0;            // of the last commit that watchers may have seen
  virtual Revision compacted_revision() const = 0;  // reads at or below it get `expired`
};

struct Options {
  std::string path;                    // the database file
  size_t cache_bytes = 4u << 20;       // current values kept in memory; the rest is read from the file
  size_t history_events = 4096;        // watch history in memory
  Revision history_revisions = 10000;  // rows of older revisions kept in the file; at least 1
  size_t checkpoint_bytes = 1u << 20;  // of write-ahead log, then it is moved into the database
  int64_t quiet_ms = 3000;             // after the last use of the file: then its caches are given back
  size_t log_bytes = 4u << 20;         // of raft log kept in the file for members that are behind
  // Not empty: a new file is that of a member that waits to be told by this cluster's leader; 16 bytes.
  std::string join_cluster = {};
  uint64_t join_member = 0;  // the id of that member; 0: drawn
  // How time passes for the group; nothing ticks in a group of one.
  int64_t tick_ms = 200;
  uint32_t heartbeat_ticks = 2;
  uint32_t election_ticks = 5;  // a follower waits for one to two times this
  // Since this member lost the lead: then nobody waits any longer to hear what became of its last proposals.
  uint32_t unknown_ticks = 50;
};

// What the volatile space keeps of one prefix; the oldest changes go first, as deletions that watchers see.
struct Retention {
  size_t max_items = 2000;
  size_t max_bytes = 1u << 20;
  int64_t ttl_ms = 0;  // since the last change; 0: no limit
};

// A piece of the durable state at one revision, as a backup holds it; rebuild.h makes a file of the pieces.
struct StatePart {
  std::string bytes;      // of current objects, in key order
  std::string next;       // what to ask for the piece after it with; empty: this is the last
  Revision revision = 0;  // of the whole
  uint64_t term = 0;      // no revision of the volatile space is of a higher one
  uint64_t size = 0;      // about how many bytes all pieces are
};

// Numbers for /metrics.
struct Stats {
  uint64_t commits = 0, transactions = 0, conflicts = 0, reads_from_file = 0;
  uint64_t fsyncs = 0, watchers = 0, events = 0, lost_watches = 0, compactions = 0;
  uint64_t keys = 0, cache_bytes = 0, file_bytes = 0, wal_bytes = 0;
  int64_t commit_ms_max = 0;
};

class Consensus;

class Store {
 public:
  // Opens or creates. Blocking; called once at start. Errors name the file, what is wrong and what to do: a
  // newer schema version, damage, no space, another holder.
  static Result<std::unique_ptr<Store>> open(loop::Loop& loop, Options options, Clock& clock);
  virtual ~Store() = default;

  virtual Space& durable() = 0;
  virtual Space& transient() = 0;  // the volatile class
  virtual Consensus& consensus() = 0;
  // Sets what the volatile space keeps under a prefix. Prefixes do not overlap; without one the defaults hold
  // for all.
  virtual void retain(const std::string& prefix, Retention retention) = 0;

  // Small named blobs beside the objects (the last events over a restart, for example): durable, no revision,
  // at most 1 MiB. load gives nullopt for a name that was never saved.
  virtual void save(const std::string& name, std::string bytes, std::function<void(Result<>)> done) = 0;
  virtual void load(const std::string& name,
                    std::function<void(Result<std::optional<std::string>>)> done) = 0;

  // The durable state in pieces, all at the revision of the first, each read in a job of its own between
  // commits. `next`: of the piece before, empty for the first. A reader holds history back for a minute after
  // each piece, but to no more than twice its length. Errors: expired (compacted meanwhile: begin anew),
  // unavailable, corrupt.
  virtual void read_state(const std::string& next, std::function<void(Result<StatePart>)> done) = 0;

  // Finishes what was accepted, checkpoints, closes the file; then calls done. No call after it.
  virtual void close(std::function<void()> done) = 0;
  // A fatal storage error (failed fsync, damage found while running) is reported once; the daemon stops.
  virtual void on_fatal(std::function<void(Error)> f) = 0;
  // Called when the store has given back memory because nothing was asked of it for a while.
  virtual void on_quiet(std::function<void()> f) = 0;
  virtual Stats stats() const = 0;
  virtual std::string sqlite_version() const = 0;
  // Wall time of the last commit found at opening, in seconds: the clock's floor. 0 when none.
  virtual int64_t last_commit_time() const = 0;
};

}  // namespace limpet::store

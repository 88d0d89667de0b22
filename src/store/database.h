// The SQLite file: schema, statements, errors. Used by one thread at a time (the opener, then the storage
// thread).
//
// Tables (schema version 1):
//   meta(name, value)      compacted revision, the group (group.h), saved blobs; in files that an earlier
//                          limpet wrote a count of starts, which terms go on from
//   rows(id, ...)          one row per change of a key; id = revision and place, see index.h
//   versions(key, id, ...) the ordered way in: start-up reads only this; size -1 is a deletion
//   log(position, ...)     raft entries; none in a group of one, where each is applied as it comes
//
// Revision, applied index, time of the last commit and the state hash are columns of the newest row: a commit
// touches no page for them. Every row carries a checksum over all its columns, checked whenever it is read.
//
// Errors: exhausted (disk full; nothing was written), corrupt (damage; do not go on), io (unknown state; do
// not go on), unsupported (written by a newer limpet), conflict (another holder), invalid_argument (not a
// limpet database).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/applier.h"
#include "store/group.h"
#include "store/replica.h"
#include "store/snapshot.h"

struct sqlite3;
struct sqlite3_stmt;

namespace limpet::store {

struct Row {
  RowId id = 0;
  std::string key;
  Revision created = 0;
  bool deleted = false;
  RowId previous_id = 0;
  std::string value;  // without the format byte
};

// One line of `versions`.
struct Version {
  std::string_view key;
  RowId id = 0;
  Revision created = 0;
  int64_t size = 0;  // -1: deleted
};

struct Newest {  // of the newest row; zeros in an empty database
  RowId id = 0;
  uint64_t index = 0;
  int64_t time = 0;
  uint64_t state = 0;
};

class Database {
 public:
  // Full: no room can be made. What an unclean stop left in the log stays there, and is read from there.
  enum class Disk { has_room, full };
  // steps[N] is SQL that leads from schema version N to N + 1; all that a file lacks are done in one
  // transaction with its new number. They are a parameter so that a step can be tried before the first one is
  // needed.
  using Steps = std::span<const char* const>;
  static const Steps kSteps;
  static Result<std::unique_ptr<Database>> open(const std::string& path, size_t checkpoint_bytes,
                                                Disk disk = Disk::has_room, Steps steps = kSteps);
  ~Database();
  Database(const Database&) = delete;

  // Start-up.
  Result<Newest> newest();
  Result<> each_version(const std::function<Result<>(const Version&)>& f);
  Result<int64_t> get_number(const char* name);                          // 0 when absent
  Result<std::optional<std::string>> get_blob(const std::string& name);  // checksum verified
  Result<> save_blob(const std::string& name, std::string_view bytes);   // in a transaction of its own
  Result<> quick_check();  // SQLite's own, of the whole file; corrupt with what it says

  // One transaction with all of it, and what its entries change, as worked out. Values of previous rows that
  // the changes lack are read into `previous` (same places as the changes). invalid_argument: the part of a
  // snapshot in it is none; nothing was done.
  Result<> write(const Transaction& transaction, const std::vector<Change>& changes,
                 std::vector<SharedBytes>& previous);

  // ---- the raft log (database_log.cc) ----
  // What a member of a group starts with; nothing when this file never was of one.
  Result<std::optional<Group>> group();
  // This file is that of a new group, whose state it holds; written with the next transaction.
  Result<> found(Group group);
  // From now on the term is this one, in which nobody voted: stable when it returns. For a member that leads
  // at its start, in the term after it, whose number must never come again.
  Result<> enter_term(raft::Term term);
  // For a full disk: written with the first commit that finds room.
  void enter_term_unwritten(raft::Term term);
  // What that member's core starts with: its state, and the log after it.
  Result<raft::Start> start_of(const Group& group);
  Result<std::vector<raft::Entry>> log_after(raft::Index after, raft::Index upto, size_t max_cost);
  // Of an entry that is in the log, or that it begins after; 0: it is not known any more.
  Result<raft::Term> log_term(raft::Index index);
  uint64_t log_bytes() const { return log_bytes_; }
  // Deletes the oldest entries of those up to `applied` until at most so many bytes are left, a few hundred
  // at once.
  Result<> compact_log(const raft::SnapshotPoint& applied, uint64_t keep_bytes);

  // ---- snapshots (database_snapshot.cc) ----
  // The part that begins at the cursor; the last one has the end. The cursor moves on.
  Result<SnapshotPart> read_part(SnapshotCursor& cursor);
  Result<std::optional<raft::Staged>> staged();

  // ---- surgery (surgery.h), within atomically() ----
  // One transaction: whole or not at all.
  Result<> atomically(const char* commit_point, const std::function<Result<>()>& body) {
    return in_transaction(commit_point, body);
  }
  // A snapshot that is whole and newer than the state and its log is the state now; any other one is gone.
  Result<> install_staged();
  Result<> add_rows(const std::vector<Change>& changes);
  // The file is of this group, with no log; what is older than the revision counts as compacted.
  Result<> refound(const Group& group, Revision compacted);

  Result<Row> read(RowId id, std::string_view key);
  // The rows of all keys in (after, end) that existed at `revision`, at most limit.
  Result<std::vector<Row>> list_at(std::string_view after_or_prefix, bool inclusive, std::string_view end,
                                   Revision revision, size_t limit);
  struct History {
    std::vector<Row> rows;  // in id order, whole transactions, those with the prefix only
    Revision upto = 0;      // everything up to here was looked at
  };
  Result<History> history(Revision after, Revision upto, std::string_view prefix, size_t limit);
  // Deletes rows (with their versions) in one transaction and records the compacted revision with them.
  Result<> compact(const std::vector<RowId>& ids, Revision compacted);

  // Moves the write-ahead log into the database file; due when it has grown to its limit.
  bool checkpoint_due() const;
  Result<> checkpoint();
  Result<> close();  // checkpoints and closes; the destructor closes without

  // What is cached of the file goes back to the allocator; it is read again when it is asked for.
  void give_back_memory();

  uint64_t wal_bytes() const;
  uint64_t file_bytes();
  uint64_t syncs() const { return syncs_; }
  bool was_unclean() const { return unclean_; }
  const std::string& path() const { return path_; }

 private:
  friend class Statement;
  Database(std::string path, Steps steps) : path_(std::move(path)), steps_(steps) {}
  int64_t schema() const { return static_cast<int64_t>(steps_.size()); }
  Result<> open_file();
  Result<> check_identity();
  Result<> configure();
  Result<> check_after_crash(Disk disk);
  Result<> migrate();
  Result<> exec(const char* sql);
  Result<int64_t> number_of(const char* sql);
  // `hint`: what errno was, for where SQLite does not keep it (a failed COMMIT).
  std::unexpected<Error> error(int rc, const char* doing, int hint = 0);
  std::unexpected<Error> damaged(const std::string& what) const;
  Result<sqlite3_stmt*> statement(const char* sql);  // prepared once
  Result<> insert(const Change& change);
  Result<> write_log(const Transaction& transaction);
  Result<> write_group(const Transaction& transaction);
  Result<> clear_log_from(raft::Index position);
  Result<> put_log(raft::Index index, raft::Term term, raft::EntryKind kind, std::string_view bytes);
  Result<> begin_log(const raft::SnapshotPoint& point);
  Result<> unstage();
  Result<> make_staged(const std::string& table);
  Result<> stage(const raft::SnapshotChunk& chunk);
  Result<> stage_row(const SnapshotRow& row, const SnapshotEnd& end);
  Result<> check_staged(const SnapshotPart& last, raft::Index point);
  Result<std::optional<SnapshotEnd>> snapshot_end(Revision revision);
  Result<> remove_blob(const std::string& name);
  Result<> install(const raft::SnapshotMeta& meta);
  Result<> set_blob(const std::string& name, std::string_view bytes);
  Result<> set_number(const char* name, int64_t value);
  Result<Row> row_of(sqlite3_stmt* s);
  Result<> in_transaction(const char* commit_point, const std::function<Result<>()>& body);

  std::string path_;
  Steps steps_;
  sqlite3* db_ = nullptr;
  std::vector<std::pair<const char*, sqlite3_stmt*>> statements_;
  int wal_pages_ = 0;
  int page_size_ = 0;
  size_t checkpoint_bytes_ = 0;
  uint64_t syncs_ = 0;
  std::map<std::string, std::string> unwritten_;  // of meta; they go with the next transaction
  std::optional<Group> group_;                    // as the file has it, or will with what is unwritten
  bool log_empty_ = true;
  uint64_t log_bytes_ = 0;
  bool unclean_ = false;
  bool broken_ = false;  // a commit's outcome is unknown: nothing more is written
};

}  // namespace limpet::store

// A new database made of a state that was read in pieces (Store::read_state): the way back from a backup.
//
//   TRY(auto rebuild, Rebuild::begin(path, options)); rebuild->add(piece)...; TRY(auto made,
//   rebuild->finish());
//
// The file is that of a group of one, whose member is new: who voted before cannot be taken for it. Clients
// of before must not go on where they were, for what they saw last may never have come into the backup: the
// revision is raised by a thousand million and everything before it counts as compacted, so that their reads
// and watches get `expired`; the volatile space begins in a term far above all of before.
//
// Blocking, without a loop, while no limpetd has the path. A file that was not finished is of no use.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "store/database.h"

namespace limpet::store {

class Rebuild {
 public:
  static constexpr Revision kRevisionGap = 1'000'000'000;
  // More starts or elections than there can have been after the backup.
  static constexpr uint64_t kTermGap = 1'000'000;
  // Says since which revision the state was restored, and when.
  static constexpr const char* kMark = "limpet/restored";

  struct Options {
    std::string cluster;            // 16 bytes; empty: a new one
    uint64_t term = 0;              // StatePart::term of the state
    int64_t time = 0;               // seconds since 1970: now
    std::vector<std::string> drop;  // prefixes of keys that are true of the old group alone
  };
  struct Made {
    Revision from = 0, revision = 0;  // of the state, and of the file
    uint64_t objects = 0;
    std::string cluster;  // 16 bytes
  };

  // already_exists: there is something at the path, or its write-ahead log.
  static Result<std::unique_ptr<Rebuild>> begin(const std::string& path, Options options, Random& random);
  // In the order in which they were read. Errors: corrupt, unsupported (of a newer limpet), exhausted, io.
  Result<> add(std::string_view piece);
  // Checks that the pieces are a whole state, raises the revision, checks the file, closes it. `corrupt`: a
  // piece is missing.
  Result<Made> finish();

 private:
  Rebuild(Options options, Group group, std::unique_ptr<Database> db)
      : options_(std::move(options)),
        group_(std::move(group)),
        db_(std::move(db)),
        meta_{{}, group_.membership} {}
  Result<> install();
  Result<Made> raise();

  Options options_;
  Group group_;
  std::unique_ptr<Database> db_;
  raft::SnapshotMeta meta_;
  bool begun_ = false;
  bool whole_ = false;  // the last piece came
};

}  // namespace limpet::store

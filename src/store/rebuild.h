// A new database made of a state that was read in pieces (Store::read_state): the way back from a backup.
//
//   TRY(auto rebuild, Rebuild::begin(path, options, random)); rebuild->add(piece)...; rebuild->finish();
//
// The file is that of a group of one, as surgery.h makes it: another member, far above all that clients and
// the members of before can have seen.
//
// Blocking, without a loop, while no limpetd has the path. A file that was not finished is of no use.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "store/database.h"
#include "store/surgery.h"

namespace limpet::store {

class Rebuild {
 public:
  struct Options {
    std::string cluster;            // 16 bytes; empty: a new one
    uint64_t term = 0;              // StatePart::term of the state
    int64_t time = 0;               // seconds since 1970: now
    std::vector<std::string> drop;  // prefixes of keys that are true of the old group alone
  };
  // already_exists: there is something at the path, or its write-ahead log.
  static Result<std::unique_ptr<Rebuild>> begin(const std::string& path, Options options, Random& random);
  // In the order in which they were read. Errors: corrupt, unsupported (of a newer limpet), exhausted, io.
  Result<> add(std::string_view piece);
  // Checks that the pieces are a whole state, makes it that of a group of one, checks the file, closes it.
  // `corrupt`: a piece is missing.
  Result<Refounded> finish();

 private:
  Rebuild(Options options, Random& random, raft::MemberId self, std::unique_ptr<Database> db)
      : options_(std::move(options)), random_(random), db_(std::move(db)) {
    meta_.membership.voters = {self};
  }

  Options options_;
  Random& random_;
  std::unique_ptr<Database> db_;
  raft::SnapshotMeta meta_;
  bool begun_ = false;
  bool whole_ = false;  // the last piece came
};

}  // namespace limpet::store

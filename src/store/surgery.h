// What is done to the file of a store while nobody has it open: its group becomes one of this file alone.
//
// For `limpet cluster recover` (the other servers are lost for good) and `limpet restore` (a backup, of whose
// pieces rebuild.h makes a file). In both cases the file gets a new member id, as it must never be taken for
// a member that others have heard of, its revision is raised by kRevisionJump, above any that was handed out
// and is not in it, and all before counts as compacted, so that whoever lists or watches at an older revision
// gets `expired` and begins anew. Its term is raised by kTermJump for the same reason: volatile revisions go
// on from it.
//
// One transaction: after a crash the file is as it was, or done. Blocking.
// Errors: already_exists (somebody has it open), not_found, unsupported (of a newer limpet), corrupt
// (damaged: every row is read before), invalid_argument (it holds no state: it waited to be told by a
// cluster), exhausted (no room; nothing was done), io.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "raft/membership.h"
#include "raft/types.h"
#include "store/store.h"

namespace limpet::store {

class Database;

constexpr Revision kRevisionJump = 1'000'000'000;
constexpr raft::Term kTermJump = 1u << 20;
// The key whose change carries the new revision; its value says what was done, as JSON.
constexpr const char* kOriginKey = "limpet/origin";

// What is written with it, in the same transaction: given the items of the state (those with the prefix, the
// rest of the log done) and the new member's id. Keys are distinct, and none is kOriginKey.
struct Amend {
  std::string prefix;
  std::function<Result<std::vector<Op>>(const std::vector<Item>& items, raft::MemberId self)> ops;
};

struct Refounding {
  const char* kind = "recover";   // for kOriginKey
  int64_t time = 0;               // seconds since 1970: now
  std::vector<std::string> drop;  // prefixes of keys that are true of the old group alone
  Amend amend = {};
};

struct Refounded {
  std::string cluster;  // 16 bytes
  raft::MemberId before = 0, self = 0;
  Revision from = 0, revision = 0;  // of the state, and of the file now
  uint64_t entries = 0;             // of the log that were not in the state and are now
  uint64_t objects = 0;             // without kOriginKey
};

// Whoever is left goes on alone. What its log holds beyond its state is done: of that nobody can tell any
// more what the others agreed on, and an acknowledged write must not be lost.
Result<Refounded> recover_database(const std::string& path, int64_t wall_seconds, Random& random,
                                   const Amend& amend = {});

// What the file says, for who has to decide whether surgery is right. Nothing is changed.
struct Survey {
  std::string cluster;  // 16 bytes
  raft::MemberId self = 0;
  raft::Membership membership;  // of the state, or the newest in the log
  std::vector<Item> items;      // of the state, those with the prefix
};
Result<Survey> survey_database(const std::string& path, const std::string& prefix, Random& random);

// The same of a file that the caller has open, within Database::atomically.
Result<Refounded> refound(Database& db, const Refounding& what, Random& random);

}  // namespace limpet::store

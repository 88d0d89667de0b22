// What an entry does to the state: preconditions are compared, bytes are copied, nothing else. Pure and
// deterministic, so that every replica comes to the same revisions and the same state hash.
//
// A batch is evaluated against the index plus what earlier entries of the same batch did; the index itself
// changes only when the batch is on stable storage.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "raft/types.h"
#include "store/entry.h"
#include "store/index.h"

namespace limpet::store {

struct Change {
  std::string_view key;     // into the entry's bytes
  std::string_view stored;  // likewise; empty when deleted
  SharedBytes value;        // without the format byte; null when deleted
  bool deleted = false;
  RowId id = 0;
  Revision created = 0;   // of this incarnation; for a deletion, of the one that ends
  RowId previous_id = 0;  // 0: the key did not exist
  SharedBytes previous;   // null: not in memory
  uint64_t state = 0;     // the state hash after this change
  uint64_t index = 0;     // of the log entry
  int64_t time = 0;       // of the log entry, wall seconds
};

struct Batch {
  std::vector<raft::Entry> entries;
  std::vector<Change> changes;  // in id order
  std::vector<std::optional<Result<Committed>>>
      verdicts;           // one for each entry; none for what is not a transaction
  Revision revision = 0;  // after the batch
  bool only_removes = true;
};

// Fills changes, verdicts and revision of a batch whose entries are set and stay where they are, from the
// state after the batch before. An error of the call: an entry that this version cannot read. Every replica
// must do the same with it, so that nothing may be applied after it.
Result<> evaluate(Batch& batch, const Index& index, Revision revision);

}  // namespace limpet::store

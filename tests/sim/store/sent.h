// Which entries went from server to server, and which writes were in them.
//
// Stronger than what a client could notice: whoever says that such a write was certainly not done has applied
// something in the entry's place, or of a later term. Else another server that holds it may lead yet, and do
// it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "raft/types.h"

namespace sim {

namespace raft = limpet::raft;

class Sent {
 public:
  void note(const raft::Append& append);
  // Whether a server that has applied up to here cannot know that the write of this value was not done.
  bool unproven(const std::string& value, raft::Index applied) const;

 private:
  std::map<raft::Index, raft::Term> terms_;  // the last one in which an entry of this index was sent
  std::map<std::string, std::set<std::pair<raft::Index, raft::Term>>> writes_;
};

}  // namespace sim

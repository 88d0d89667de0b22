// Garbage collection as pure functions: what becomes of an object whose owners are known, and the index of
// who owns whom. https://kubernetes.io/docs/concepts/architecture/garbage-collection/
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace limpet::api {

struct OwnerRef {
  std::string api_version, kind, name, uid;
  bool blocks = false;  // blockOwnerDeletion
};
std::vector<OwnerRef> read_owners(std::string_view stored);

enum class OwnerState {
  alive,
  foreground,  // being deleted, waits for its dependents
  absent,      // not there, or another object of that name
  unknown,     // of a kind that is not served: not ours to judge
};

struct Verdict {
  enum class Action { keep, remove, trim } action = Action::keep;
  std::vector<std::string> forget;  // trim: the uids of owners that are gone or only wait for this to go
  bool waited_for = false;          // remove: an owner waits for it
};
Verdict judge_dependent(const std::vector<OwnerRef>& owners, const std::vector<OwnerState>& states);

// Takes these owners out of metadata.ownerReferences. False when nothing changed.
bool forget_owners(json::Ref object, const std::vector<std::string>& uids);
// No owner waits for this object any more. False when none did.
bool unblock_owners(json::Ref object);

bool has_finalizer(json::Cursor meta, std::string_view name);

// Who owns whom, and which owners wait for their dependents. Only objects with owners are in it. Fed with
// every change of the store in order; owned by the Sweeper.
class OwnerIndex {
 public:
  // An object changed from `before` to `now` (stored bytes, empty: not there). Returns the keys of owners in
  // foreground deletion that have one dependent less to wait for.
  std::vector<std::string> update(const std::string& key, std::string_view before, std::string_view now);
  void clear();

  std::vector<std::string> dependents(const std::string& uid) const;
  // Whether the deletion of this owner in the foreground still has to wait.
  bool blocked(const std::string& uid) const;
  // Whether a dependent of this object is itself in foreground deletion: perhaps the two wait for each other.
  bool in_circle(const std::string& uid) const;

 private:
  std::unordered_map<std::string, std::map<std::string, bool>> owned_;  // owner's uid -> key, blocks
  std::map<std::string, std::string> waiting_;                          // in foreground deletion: uid -> key
};

}  // namespace limpet::api

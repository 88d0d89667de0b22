// Garbage collection as a pure function: what becomes of an object whose owners are known.
// https://kubernetes.io/docs/concepts/architecture/garbage-collection/
#pragma once

#include <string>
#include <string_view>
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
  std::vector<std::string> dead;  // trim: the uids of owners to forget
};
Verdict judge_dependent(const std::vector<OwnerRef>& owners, const std::vector<OwnerState>& states);

// Takes these owners out of metadata.ownerReferences. False when nothing changed.
bool forget_owners(json::Ref object, const std::vector<std::string>& uids);

}  // namespace limpet::api

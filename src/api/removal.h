// Deleting, as a pure function: what becomes of a stored object when somebody asks to delete it.
//
// Graceful deletion of pods, finalizers, propagation policies, the termination of namespaces:
// https://kubernetes.io/docs/concepts/architecture/garbage-collection/ and .../workloads/pods/pod-lifecycle/
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "api/status.h"
#include "base/clock.h"
#include "base/json.h"
#include "store/store.h"

namespace limpet::api {

inline constexpr std::string_view kForegroundFinalizer = "foregroundDeletion";
inline constexpr std::string_view kOrphanFinalizer = "orphan";

struct DeleteOptions {
  std::optional<int64_t> grace_s;
  std::string propagation;         // "", Background, Foreground, Orphan
  std::optional<std::string> uid;  // preconditions
  std::optional<std::string> version;
  bool dry_run = false;
  // Whether the object, as it is then, may be deleted by whoever asks. Empty: it may.
  std::function<Outcome<>(json::Cursor)> allowed;
};

// From the body (a DeleteOptions tree, or nothing) and the query, of which the body wins.
struct DeleteQuery {
  std::string_view grace, propagation;
  std::optional<bool> orphan;
  std::string_view dry_run;
};
Outcome<DeleteOptions> read_delete_options(json::Ref body, const DeleteQuery& query);

struct Removal {
  enum class Action { remove, replace, keep } action = Action::remove;
  std::string bytes;  // replace: the new state; keep: as it was
  std::string uid;
};
// `stored` is the object at `version`. A Status says why not.
Outcome<Removal> plan_removal(const schema::Resource& r, std::string_view stored, store::Revision version,
                              const DeleteOptions& options, WallTime now);

// After an update: was this the last thing that kept a deleted object alive?
bool ready_to_go(const schema::Resource& r, json::Ref object);

bool protected_namespace(std::string_view name);

}  // namespace limpet::api

// Server-side apply and the tracking of field owners (metadata.managedFields).
//
// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and the semantics of upstream's
// structured-merge-diff: lists are atomic, sets or maps by key; structs and maps are granular unless declared
// atomic. Pure: the time is a parameter. Work is linear in the objects times the number of managers.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "schema/types.h"

namespace limpet::schema {

struct FieldManager {
  std::string name;         // "kubectl", "helm"; at most 128 bytes
  std::string api_version;  // of the object as the manager sent it: "v1"
  std::string subresource;  // "status" or empty
};

struct ApplyConflict {
  std::string message;  // `conflict with "kubectl-client-side-apply" using v1`
  std::string field;    // ".spec.replicas"
};

struct ApplyFailure {
  Error error;  // conflict: the apply was refused; invalid_argument: it makes no sense
  std::vector<ApplyConflict> conflicts;  // one Status cause each, reason FieldManagerConflict
};

// Merges `applied` (the manager's whole intent) into `live` (missing: the object is created) and returns the
// new object with its managedFields. With force the manager takes fields over instead of failing.
std::expected<json::Value, ApplyFailure> apply(const Type& type, json::Ref live, json::Value applied,
                                               const FieldManager& manager, bool force, WallTime now);

// After a create, update or patch: gives the fields that differ between `live` (missing: created) and
// `object` to the manager, takes them from everybody else, and writes metadata.managedFields of `object`. An
// object of which nobody is known to own anything stays so, as upstream, until something is applied to it:
// one that was made without, or one that carries the list that takes all owners away.
void track_update(const Type& type, json::Ref live, json::Ref object, const FieldManager& manager,
                  WallTime now);
// [{}], the documented way.
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields
bool takes_owners_away(json::Ref managed_fields);

}  // namespace limpet::schema

// Strategic merge patch over the type tables: lists merge by key where the schema says so, with the
// directives $patch, $retainKeys, $setElementOrder/<list> and $deleteFromPrimitiveList/<list>.
//
// Source:
// https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
// and, for ordering and corner cases, what upstream's library computes
// (tests/unit/schema/data/strategic.tsv). Work is linear in the two documents; depth is bounded by the parser
// that made them.
#pragma once

#include "base/json.h"
#include "schema/types.h"

namespace limpet::schema {

// Consumes the object. Errors: invalid_argument, in upstream's words (HTTP 400 or 422).
Result<json::Value> apply_strategic_patch(json::Value object, json::Ref patch, const Type& type);

}  // namespace limpet::schema

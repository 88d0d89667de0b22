// JSON patch (RFC 6902) on the tree of an object that is being written.
//
// Strict: pointers as RFC 6901 says (no negative indexes), unknown operations refused. Work is bounded: at
// most 10,000 operations, 3 MiB of copied values in total, a fixed number of nodes visited, and nothing
// deeper than 64 levels. Errors: invalid_argument for a patch that is wrong in itself (HTTP 400), conflict
// for one that does not fit this object, a failed `test` included (422), too_large beyond a bound (413).
#pragma once

#include "base/json.h"

namespace limpet::schema {

// Consumes the object; on error nothing of it remains.
Result<json::Value> apply_json_patch(json::Value object, json::Ref patch);

}  // namespace limpet::schema

// JSON merge patch (RFC 7386) on the tree of an object that is being written.
#pragma once

#include "base/json.h"

namespace limpet::schema {

// Members of `patch` replace those of `target`, null removes, objects merge. A patch that is no object
// replaces all. Depth is bounded by the bound of the parser that made both trees.
json::Value apply_merge_patch(json::Value target, json::Ref patch);

}  // namespace limpet::schema

// The schema room as the write path uses it: defaulting, validation and field ownership of the tree being
// written.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "api/context.h"
#include "api/status.h"
#include "base/json.h"

namespace limpet::api {

Outcome<> validate_new(const schema::Resource& r, json::Ref object);
Outcome<> validate_ephemeral(const schema::Resource& r, json::Ref pod);
Outcome<> validate_change(const schema::Resource& r, json::Ref object, json::Ref old, bool status);
// Record in metadata.managedFields which manager set what. A new object that lives in memory only is left
// without, as is its every update, until somebody applies to it (docs/decisions/0023-memory-after-work.md).
void record_creator(const Call& call, const schema::Resource& r, json::Ref object);
void record_manager(const Call& call, const schema::Resource& r, json::Ref object, json::Ref old,
                    std::string_view subresource);

}  // namespace limpet::api

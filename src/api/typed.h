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
// Records in metadata.managedFields which manager set what. `old` may be missing.
void record_manager(const Call& call, const schema::Resource& r, json::Ref object, json::Ref old,
                    std::string_view subresource);

}  // namespace limpet::api

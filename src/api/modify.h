// A small change to a stored object by the server itself (finalizers, owners): read, change, write, again
// when somebody was faster. In the term of the background work, or not at all.
#pragma once

#include <functional>
#include <string>

#include "api/context.h"
#include "base/json.h"

namespace limpet::api {

// `change` returns false when there is nothing to do. `done`: whether the object is there no more, or why
// not.
void modify_object(Core& core, const schema::Resource& r, std::string key,
                   std::function<bool(json::Ref)> change, std::function<void(Result<bool>)> done);

// The resource whose objects have such keys; null for none.
const schema::Resource* resource_of_key(std::string_view key);

}  // namespace limpet::api

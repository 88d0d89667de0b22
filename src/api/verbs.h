// What can be done with the objects of any kind: one function per verb, each in its own file. They answer the
// call, possibly later.
#pragma once

#include "api/context.h"
#include "base/json.h"

namespace limpet::api {

void get_object(CallPtr call);
void list_objects(CallPtr call);
void watch_objects(CallPtr call);
void create_object(CallPtr call);
void update_object(CallPtr call);  // also of subresources that are parts of the object
void patch_object(CallPtr call);
void apply_object(CallPtr call, json::Value body);  // server-side apply
void delete_object(CallPtr call);
void delete_collection(CallPtr call);

}  // namespace limpet::api

// What is particular about a kind when it is written: fields the server owns, defaults that depend on others,
// what a main write and a status write may touch. Pure functions on the tree being written; a kind without a
// strategy gets the general rules only. One file per kind that needs one (strategy_KIND.cc).
#pragma once

#include <vector>

#include "api/status.h"
#include "api/user.h"
#include "base/clock.h"
#include "base/json.h"
#include "schema/types.h"

namespace limpet::api {

struct Strategy {
  bool generation = false;   // metadata.generation counts changes of what is desired
  bool annotations = false;  // their changes count, too
  // After defaulting, before validation.
  void (*create)(json::Ref object) = nullptr;
  void (*update)(json::Ref object, json::Cursor old) = nullptr;
  bool returns_object_when_deleted = false;
};

const Strategy& strategy_of(const schema::Resource& r);

void update_pod(json::Ref pod, json::Cursor old);
void create_namespace(json::Ref ns);
void update_namespace(json::Ref ns, json::Cursor old);
void create_secret(json::Ref secret);
void update_secret(json::Ref secret, json::Cursor old);

}  // namespace limpet::api

// Accepted fields that are not acted on yet: one table, from which come the Warning header of a write that
// uses one and the list in docs/compatibility.md (a test compares them).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/context.h"
#include "base/json.h"

namespace limpet::api {

struct NotActedOn {
  std::string_view group, kind;
  // "spec.volumes[].csi". "spec.containers[]" stands for init and ephemeral containers too.
  std::string_view path;
  std::string_view value;        // only this value, when not empty; "HugePages*": all that begin so
  std::string_view effect;       // what happens instead, for people
  std::string_view unless = {};  // "medium=Memory": not where the field beside it has this value
  bool regular_only = false;     // spec.containers[] means these alone
};

std::span<const NotActedOn> not_acted_on();

// One warning for each entry that the object uses.
void warn_not_acted_on(Call& call, const schema::Resource& r, json::Ref object);
bool uses(json::Ref object, const NotActedOn& entry);

// docs/compatibility.md, whole.
std::string compatibility_document();

}  // namespace limpet::api

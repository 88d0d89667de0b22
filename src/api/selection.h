// Which objects a list, watch or deletecollection is about: a key prefix and the selectors of the query,
// matched against stored bytes.
#pragma once

#include <string>
#include <string_view>

#include "api/context.h"
#include "api/status.h"
#include "schema/selector.h"

namespace limpet::api {

struct Selection {
  std::string prefix;  // of keys; narrowed to one object by metadata.name=x
  schema::LabelSelector labels;
  schema::FieldSelector fields;

  bool everything() const { return labels.empty() && fields.empty(); }
  bool matches(std::string_view stored) const {
    if (everything()) return true;
    json::Cursor object(stored);
    return labels.matches(object) && fields.matches(object);
  }
  // Tells selections apart: continue tokens are bound to it.
  std::string fingerprint() const;
};

Outcome<Selection> read_selection(const Call& call);

}  // namespace limpet::api

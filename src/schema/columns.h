// The cells of a Table row, computed from an object's stored bytes as upstream's printers do: what `kubectl
// get` shows. The columns themselves are declared in the schema files (Resource::columns()). Pure: the time
// is a parameter; linear in the object.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "schema/types.h"

namespace limpet::schema {

// Writes the cells of one row, in the order of resource.columns(), as one JSON array. Kinds without a printer
// of their own: a column's text is read from the JSON path given by its name in the generic table (NAME,
// AGE), else empty.
void write_cells(const Resource& resource, json::Cursor object, WallTime now, json::Writer& out);

// "45s", "3m12s", "5h3m", "2d4h", "3y12d": how kubectl prints ages.
std::string human_duration(int64_t seconds);
// The age of an RFC 3339 time: "<unknown>" when empty, "<invalid>" when it lies in the future.
std::string age_of(std::string_view time, WallTime now);

}  // namespace limpet::schema

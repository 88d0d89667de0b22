// The cells of one row by column name, and those of kinds that have a file of their own.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"

namespace limpet::schema {

// Cells by lower-case column name, as JSON values.
class Cells {
 public:
  void text(std::string_view column, std::string_view value);
  void number(std::string_view column, int64_t value);
  const std::string* find(std::string_view column) const;  // any case

 private:
  std::map<std::string, std::string, std::less<>> cells_;
};

void pod_cells(json::Cursor pod, WallTime now, Cells& cells);
void deployment_cells(json::Cursor deployment, Cells& cells);
void replica_set_cells(json::Cursor set, Cells& cells);

}  // namespace limpet::schema

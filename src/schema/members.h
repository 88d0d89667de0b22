// Looking up, replacing and removing members of a JSON object many times without walking it each time:
// patches come from outside, and 100,000 members must not cost 100,000 walks. Borrows the object, which must
// not be changed by other means while the index is alive.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/json.h"

namespace limpet::schema {

class Members {
 public:
  // `more`: how many members may be added.
  Members(json::Ref object, size_t more);
  json::Ref find(std::string_view key) const;
  json::Ref set(std::string_view key, json::Value value);  // in place of the old one, else at the end
  void remove(std::string_view key);

 private:
  json::Ref object_;
  bool indexed_ = false;  // small objects are walked
  std::unordered_map<std::string, cJSON*> index_;
};

}  // namespace limpet::schema

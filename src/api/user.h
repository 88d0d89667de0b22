// Who a request acts for, after authentication. A value.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace limpet::api {

inline constexpr std::string_view kMastersGroup = "system:masters";
inline constexpr std::string_view kReadersGroup = "limpet";

// An object that a proof of identity hangs on: it holds while the object is there under this uid.
struct BoundObject {
  std::string key;  // in the durable space
  std::string uid;
};

struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  std::vector<std::pair<std::string, std::vector<std::string>>> extra;
  std::vector<BoundObject> bound;  // of who proved it, also when acting for another

  bool anonymous() const { return name.empty() || name == "system:anonymous"; }
  bool in(std::string_view group) const {
    return std::find(groups.begin(), groups.end(), group) != groups.end();
  }
};

}  // namespace limpet::api

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

struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  std::vector<std::pair<std::string, std::vector<std::string>>> extra;

  bool anonymous() const { return name.empty() || name == "system:anonymous"; }
  bool in(std::string_view group) const {
    return std::find(groups.begin(), groups.end(), group) != groups.end();
  }
};

}  // namespace limpet::api

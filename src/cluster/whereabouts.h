// Where a server said that it is reached, as one server tells another that does not hear of it. Pure.
//
// Shape: {"member" (hex), "addresses"}, as device.h has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/device.h"

namespace limpet::cluster {

struct Whereabouts {
  raft::MemberId member = 0;
  std::vector<std::string> addresses;  // at least one
};
std::string encode(const Whereabouts& whereabouts);
// Hostile bytes are fine. `invalid_argument` or `too_large`.
Result<Whereabouts> decode_whereabouts(std::string_view json);

}  // namespace limpet::cluster

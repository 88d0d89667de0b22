// What `limpet cluster status` shows: GET /limpet/v1/cluster, as this server sees it. Lag is the leader's to
// know.
//
//   {"cluster" (hex), "self", "leader" (name or ""), "term", "seenBy",
//    "health": {"ok", "message"},
//    "members": [{"name", "member" (hex), "role" (voter, learner, joining, leaving), "leader", "self",
//                 "addresses", "contactSeconds" (-1: never), "behind", "version", "problem"}]}
#pragma once

#include <string>

#include "daemon/part.h"

namespace limpet::daemon {

std::string cluster_status(const Device& device);

}  // namespace limpet::daemon

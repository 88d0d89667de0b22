// What `limpet cluster recover` decides: whether the cluster is lost, and what the store says afterwards of
// the servers that are given up. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "cluster/device.h"
#include "raft/membership.h"
#include "store/store.h"

namespace limpet::cli {

inline constexpr const char* cluster_prefix = "limpet/";

struct Servers {
  cluster::Device own;
  std::vector<cluster::Device> others;  // active ones
};
// Of the items below limpet/. `not_found`: this server is alone, or unknown to its own records.
Result<Servers> servers_of(const std::vector<store::Item>& items, raft::MemberId self);

// Whether these, with this server, are enough to decide: a majority of the voters, of both groups when they
// are changing.
bool can_decide(const raft::Membership& membership, raft::MemberId self,
                const std::set<raft::MemberId>& answering);

// To be written with the surgery: this server is the new member, the others are no members any more, their
// names are free, their keys denied and what was wrapped for them is gone, and so are their Nodes.
Result<std::vector<store::Op>> give_up_others(const std::vector<store::Item>& items, raft::MemberId before,
                                              raft::MemberId self, WallTime now);

}  // namespace limpet::cli

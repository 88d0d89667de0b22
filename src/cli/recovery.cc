#include "cli/recovery.h"

#include <algorithm>

#include "base/json.h"
#include "base/sha256.h"
#include "cluster/keys.h"

namespace limpet::cli {
namespace {

store::Op put(std::string key, std::string value) {
  return {store::Op::Type::put, std::move(key), std::move(value), std::nullopt};
}
store::Op removal(std::string key) { return {store::Op::Type::remove, std::move(key), "", std::nullopt}; }

bool majority_of(const std::vector<raft::MemberId>& voters, raft::MemberId self,
                 const std::set<raft::MemberId>& answering) {
  const auto there = std::count_if(voters.begin(), voters.end(),
                                   [&](raft::MemberId id) { return id == self || answering.contains(id); });
  return static_cast<size_t>(there) >= raft::majority(voters.size());
}

}  // namespace

Result<Servers> servers_of(const std::vector<store::Item>& items, raft::MemberId self) {
  Servers out;
  for (const store::Item& item : items) {
    if (!item.key.starts_with(cluster::members_prefix)) continue;
    TRY(cluster::Device device, cluster::decode_device(*item.value));
    if (device.member == self) {
      out.own = std::move(device);
    } else if (device.state == cluster::DeviceState::active) {
      out.others.push_back(std::move(device));
    }
  }
  if (out.others.empty())
    return fail(Errc::not_found, "this server's cluster has no other servers: there is nothing to recover");
  if (out.own.name.empty())
    return fail(Errc::not_found, "this server was removed from its cluster: it has to join again");
  return out;
}

bool can_decide(const raft::Membership& membership, raft::MemberId self,
                const std::set<raft::MemberId>& answering) {
  return majority_of(membership.voters, self, answering) &&
         (!membership.joint() || majority_of(membership.outgoing, self, answering));
}

Result<std::vector<store::Op>> give_up_others(const std::vector<store::Item>& items, raft::MemberId before,
                                              raft::MemberId self, WallTime now) {
  TRY(Servers servers, servers_of(items, before));
  std::vector<store::Op> ops;
  ops.push_back(removal(cluster::member_key(before)));
  servers.own.member = self;
  ops.push_back(put(cluster::member_key(self), encode(servers.own)));
  ops.push_back(put(cluster::device_key(servers.own.name), encode(servers.own)));
  for (cluster::Device& lost : servers.others) {
    ops.push_back(removal(cluster::member_key(lost.member)));
    lost.state = cluster::DeviceState::removed;
    ops.push_back(put(cluster::device_key(lost.name), encode(lost)));
    ops.push_back(put(cluster::denied_key(sha256_hex(lost.spki)), cluster::denied_record(lost, now)));
    ops.push_back(removal("nodes/" + lost.name));
    for (const store::Item& item : items) {
      if (item.key.starts_with(cluster::wraps_prefix) && item.key.ends_with("/" + lost.name))
        ops.push_back(removal(item.key));
    }
  }
  return ops;
}

}  // namespace limpet::cli

#include "daemon/departures.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "base/log.h"
#include "base/sha256.h"
#include "daemon/denied.h"
#include "daemon/group_keeper.h"
#include "daemon/join_service.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/member_records.h"
#include "raft/membership.h"

namespace limpet::daemon {
namespace {

constexpr int64_t patience_ms = 20'000;

store::Op put(std::string key, std::string value, std::optional<store::Revision> expect = std::nullopt) {
  return {store::Op::Type::put, std::move(key), std::move(value), expect};
}

http::Response said(const std::string& text) {
  json::Writer w;
  w.begin_object().field("message", text).end_object();
  return local_json(w.take());
}

}  // namespace

store::Txn forget_member(const cluster::Device& device, uint64_t term, WallTime now) {
  store::Txn txn;
  txn.term = term;
  txn.ops.push_back({store::Op::Type::remove, cluster::member_key(device.member), "", std::nullopt});
  txn.ops.push_back(put(cluster::denied_key(sha256_hex(device.spki)), cluster::denied_record(device, now)));
  return txn;
}

struct Departures::Leaving {
  http::ExchangePtr exchange;
  std::string name;
  bool revoke = false;
  cluster::Device device;
  store::Revision revision = 0;  // of its record
  std::unique_ptr<client::Pending> call;
  std::optional<loop::Timer> limit;
  std::string problem;  // with the Node

  void fail(int code, const char* reason, const std::string& text) const {
    exchange->respond(local_failure(code, reason, text));
  }
};

Departures::Departures(Device& device, client::Client& client, KeyKeeper& keys)
    : device_(device), client_(client), keys_(keys) {}

void Departures::leave(http::ExchangePtr exchange, const std::string& name, bool revoke) {
  auto leaving = std::make_shared<Leaving>();
  leaving->exchange = std::move(exchange);
  leaving->name = name;
  leaving->revoke = revoke;
  device_.store->durable().get(cluster::device_key(name), [this, here = std::weak_ptr<char>(alive_),
                                                           leaving](Result<std::optional<store::Item>> item) {
    if (here.expired()) return;
    if (!item) return leaving->exchange->respond(refusal_of(item.error()));
    if (!*item) return leaving->fail(404, "NotFound", "no device " + leaving->name + " joined this cluster");
    found(leaving, **item);
  });
}

void Departures::found(const LeavingPtr& leaving, const store::Item& item) {
  auto device = cluster::decode_device(*item.value);
  if (!device) return leaving->exchange->respond(refusal_of(device.error()));
  if (device->state == cluster::DeviceState::revoked && !leaving->revoke)
    return leaving->fail(409, "Conflict", leaving->name + " is revoked, which removing would take back");
  if (const std::string why = lacks_votes(*device); !why.empty()) return leaving->fail(409, "Conflict", why);
  leaving->device = std::move(*device);
  leaving->revision = item.mod_revision;
  if (leaving->device.member == 0) return mark(leaving);
  // After a restore they are in no store yet.
  keys_.put_in_store([this, here = std::weak_ptr<char>(alive_), leaving](Result<> there) {
    if (here.expired()) return;
    if (!there) return leaving->exchange->respond(refusal_of(there.error()));
    mark(leaving);
  });
}

void Departures::mark(const LeavingPtr& leaving) {
  cluster::Device& device = leaving->device;
  device.state = leaving->revoke ? cluster::DeviceState::revoked : cluster::DeviceState::removed;
  auto keys = keys_.on_leave(device, leaving->revoke);
  if (!keys) return leaving->exchange->respond(refusal_of(keys.error()));
  store::Txn txn;
  txn.term = device_.leadership->term();
  txn.ops = std::move(*keys);
  txn.ops.push_back(put(cluster::device_key(device.name), encode(device), leaving->revision));
  if (device_.members->find(device.member) != nullptr) {
    txn.ops.push_back(put(cluster::member_key(device.member), encode(device)));
  } else {
    txn.ops.push_back(put(cluster::denied_key(sha256_hex(device.spki)),
                          cluster::denied_record(device, device_.clock.wall())));
  }
  device_.store->durable().commit(
      std::move(txn), [this, here = std::weak_ptr<char>(alive_), leaving](Result<store::Committed> done) {
        if (here.expired()) return;
        if (!done) return leaving->exchange->respond(refusal_of(done.error()));
        marked(leaving);
      });
}

// Whether the group can let it go without its own vote: it may be dead, and the others are to be enough.
std::string Departures::lacks_votes(const cluster::Device& device) const {
  const raft::Status status = device_.store->consensus().status();
  const auto& voters = status.membership.voters;
  // Restored: what is recorded of this device is from before.
  if (device.name == device_.node_name && device_.members->all().empty())
    return lacks_heir(device, status.membership);
  if (std::find(voters.begin(), voters.end(), device.member) == voters.end()) return "";
  if (voters.size() == 1) return lacks_heir(device, status.membership);
  const auto there = static_cast<size_t>(std::count_if(voters.begin(), voters.end(), [&](raft::MemberId id) {
    return id != device.member && in_contact(device_, id);
  }));
  if (there >= raft::majority(voters.size())) return "";
  return strf(
      "without %s only %zu of %zu voters are in contact, and %zu have to agree: wait until the others are "
      "back",
      device.name.c_str(), there, voters.size(), raft::majority(voters.size()));
}

// The only voter has the only copy that is sure to be whole, and with its keys goes the way in: another
// server must be there to take over.
std::string Departures::lacks_heir(const cluster::Device& device, const raft::Membership& group) const {
  std::string others;
  for (const auto& [id, record] : device_.members->all()) {
    if (id == device.member || record.device.state != cluster::DeviceState::active) continue;
    if (group.has(id) && in_contact(device_, id)) return "";
    others += (others.empty() ? "" : ", ") + record.device.name;
  }
  if (others.empty())
    return device.name +
           " is the only server of this cluster, which would end with it: let another server "
           "join first, or give up both with limpet reset on it";
  return "only " + device.name + " votes, and no server that could take over is in contact (" + others +
         "): wait until one is back";
}

void Departures::marked(const LeavingPtr& leaving) {
  log::notice(leaving->revoke ? "a device is revoked" : "a device is removed", {{"device", leaving->name}});
  client::Call call;
  call.method = "DELETE";
  call.path = "/api/v1/nodes/" + http::percent_encode(leaving->name);
  leaving->call = client_.call(std::move(call), [this, leaving](Result<client::Reply> reply) {
    const auto ended = std::move(leaving->call);
    node_gone(leaving, reply);
  });
  if (device_.members_changed) device_.members_changed();
}

void Departures::node_gone(const LeavingPtr& leaving, const Result<client::Reply>& reply) {
  if (!reply || (!reply->ok() && reply->status != 404)) {
    leaving->problem = ". Its Node could not be deleted (" +
                       (reply ? reply->error().message : reply.error().message) + "): kubectl delete node " +
                       leaving->name;
  }
  if (device_.members->find(leaving->device.member) == nullptr) return over(leaving, "");
  if (leaving->device.member == device_.store->consensus().self()) {
    return over(leaving,
                ". It led the cluster and hands over; limpet cluster status on another server shows when "
                "it is out");
  }
  leaving->limit.emplace(device_.loop, "device leaves");
  leaving->limit->start(patience_ms, [this, leaving] {
    waiting_.remove(leaving);
    over(leaving, ". The group of servers has not let it go yet; limpet cluster status shows when it has");
  });
  waiting_.push_back(leaving);
}

void Departures::members_changed() {
  const auto all = waiting_;
  for (const LeavingPtr& leaving : all) {
    if (device_.members->find(leaving->device.member) != nullptr) continue;
    waiting_.remove(leaving);
    over(leaving, "");
  }
}

void Departures::over(const LeavingPtr& leaving, const std::string& more) {
  leaving->limit.reset();
  leaving->exchange->respond(said(leaving->name +
                                  (leaving->revoke ? " is revoked: its key is not let in again"
                                                   : " has left the cluster; its name is free") +
                                  more + leaving->problem));
}

}  // namespace limpet::daemon

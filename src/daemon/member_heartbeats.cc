#include "daemon/member_heartbeats.h"

#include "api/node_authz.h"
#include "api/server.h"
#include "base/log.h"
#include "client/in_process.h"
#include "daemon/group_keeper.h"
#include "daemon/member_records.h"
#include "pki/device.h"
#include "store/consensus.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

bool metered(const Device& device) { return device.config.cluster.profile == "metered"; }

}  // namespace

MemberHeartbeats::MemberHeartbeats(Device& device)
    : device_(device),
      heartbeat_(metered(device) ? node::Heartbeat::metered() : node::Heartbeat::lan()),
      timer_(device.loop, "heartbeats") {
  timer_.repeat(heartbeat_.interval_ms, [this] { beat(); });
  beat();
}

void MemberHeartbeats::beat() {
  renew(device_.node_name);
  for (const auto& [id, record] : device_.members->all()) {
    const bool active = record.device.state == cluster::DeviceState::active;
    if (active && record.device.name != device_.node_name && in_contact(device_, id))
      renew(record.device.name);
  }
}

// What is not answered by the next time is given up with it.
void MemberHeartbeats::renew(const std::string& name) {
  Member& m = members_[name];
  if (!m.client) {
    const pki::Subject server = pki::device_subject({name, true});
    m.client = std::make_unique<client::InProcessClient>(device_.loop, device_.api->handler(),
                                                         server.common_name, server.organizations);
  }
  client::Call post{"POST", std::string(api::kHeartbeatPath), "", "application/json",
                    strf("{\"leaseDurationSeconds\":%lld}", static_cast<long long>(heartbeat_.lease_s))};
  m.call = m.client->call(std::move(post), [&m, name](Result<client::Reply> reply) {
    const auto ended = std::move(m.call);
    // A Node that is not there yet has no lease.
    if (reply && !reply->ok() && reply->status != 404)
      log::debug("a lease is not renewed", {{"device", name}, {"error", reply->error()}});
  });
}

}  // namespace limpet::daemon

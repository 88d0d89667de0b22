// Replaces the cluster's keys: the authority step by step (cluster/authority.h), the key of service-account
// tokens (cluster/signing.h), the data key.
//
// On every server: it tells the leader what it trusts as long as something is under way; agents do so when
// they ask what they are to trust (renewal_service.h). On the leader: it makes the next step when all devices
// are that far, or have been waited for long enough. Loop thread; owned by the cluster's part.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/cluster_access.h"
#include "cluster/authority.h"
#include "cluster/device.h"
#include "cluster/trust.h"
#include "daemon/key_follower.h"
#include "daemon/key_ring.h"
#include "daemon/part.h"
#include "http/message.h"

namespace limpet::daemon {

class KeyKeeper {
 public:
  explicit KeyKeeper(Device& device);
  ~KeyKeeper();
  KeyKeeper(const KeyKeeper&) = delete;

  // Below /limpet/v1/cluster/:
  //   POST certificates   of this server alone: new ones now
  //   GET  authority      {"step", "since", "waitsFor"}; POST: another one takes its place. The leader's
  //   POST trust          the report of a server, over port 6444
  void renew_certificates(http::ExchangePtr exchange);
  void authority(http::ExchangePtr exchange);
  void take_report(http::ExchangePtr exchange);

  using Answer = std::function<void(Result<>)>;
  // Done once they are there and open; of the leader.
  void put_in_store(Answer done);
  // What the keys need when that server leaves, once they are in the store, for the transaction in which it
  // does: its wraps go. When it was revoked, nothing that it knows is of use: the data key is another one,
  // and authority and signing key are being replaced.
  Result<std::vector<store::Op>> on_leave(const cluster::Device& device, bool revoke) const;
  void look();
  // Null: there are none, or they cannot be opened here (yet).
  const OpenedKeys* opened() const { return follower_.opened(); }
  // What an agent goes by.
  void told(cluster::TrustOf trust);

 private:
  bool unsettled() const;
  Result<cluster::TrustReport> own_report() const;
  void report();
  void step();
  Result<std::vector<store::Op>> next_ops();
  bool all_know(const cluster::SigningKeys& signing) const;
  Result<cluster::Replacement> replacement() const;
  std::vector<std::string> servers() const;
  std::vector<std::string> agents() const;
  void follow_agents();
  void begin(int64_t patience_s, Answer done);
  void replace(int64_t patience_s, Answer done);
  Result<store::Op> sealed(std::string_view path, const std::string& plain, store::Revision expect) const;
  void commit(std::vector<store::Op> ops, Answer done);

  Device& device_;
  KeyRing ring_;
  KeyFollower follower_;
  loop::Timer timer_;
  std::map<std::string, cluster::TrustReport> reports_;  // by node name
  std::optional<Mirror> devices_;                        // on the leader, while an authority is replaced
  std::unique_ptr<api::Forwarding> telling_;
  std::vector<std::function<void()>> when_opened_;
  bool committing_ = false;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon

// The node agent's view of src/net: pod networks as operations that can be given up.
#pragma once

#include "net/pod_networks.h"
#include "node/services.h"

namespace limpet::daemon {

class NodeNetwork final : public node::PodNetwork {
 public:
  explicit NodeNetwork(net::PodNetworks& networks) : networks_(networks) {}
  [[nodiscard]] std::unique_ptr<node::Operation> attach(
      node::PodNetworkRequest request, std::function<void(Result<node::PodAddresses>)> done) override;
  [[nodiscard]] std::unique_ptr<node::Operation> detach(std::string pod_uid,
                                                        std::function<void(Result<>)> done) override;
  void retain(std::vector<std::string> pod_uids) override { networks_.retain(pod_uids); }

 private:
  net::PodNetworks& networks_;
};

}  // namespace limpet::daemon

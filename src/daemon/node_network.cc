#include "daemon/node_network.h"

namespace limpet::daemon {
namespace {

// The job itself runs to its end; an operation that was given up only hears nothing of it.
class Listening final : public node::Operation {
 public:
  std::shared_ptr<bool> token = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<node::Operation> NodeNetwork::attach(node::PodNetworkRequest request,
                                                     std::function<void(Result<node::PodAddresses>)> done) {
  auto operation = std::make_unique<Listening>();
  std::vector<net::HostPortRequest> ports;
  for (const node::HostPort& p : request.host_ports) {
    ports.push_back({p.protocol, p.host_ip, p.host_port, p.container_port});
  }
  networks_.attach(
      request.pod_uid, request.netns_path, std::move(ports),
      [listening = std::weak_ptr<bool>(operation->token), done = std::move(done)](Result<std::string> r) {
        if (listening.expired()) return;
        if (!r) return done(std::unexpected(std::move(r).error()));
        done(node::PodAddresses{{std::move(*r)}});
      });
  return operation;
}

std::unique_ptr<node::Operation> NodeNetwork::detach(std::string pod_uid,
                                                     std::function<void(Result<>)> done) {
  auto operation = std::make_unique<Listening>();
  networks_.detach(pod_uid,
                   [listening = std::weak_ptr<bool>(operation->token), done = std::move(done)](Result<> r) {
                     if (!listening.expired()) done(std::move(r));
                   });
  return operation;
}

}  // namespace limpet::daemon

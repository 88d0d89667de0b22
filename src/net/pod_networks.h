// The networks of this device's pods: a bridge, a veth pair and an address per pod, masquerading and host
// ports.
//
// Owned by the daemon, lives as long as it. Every change runs as one job on the pool, one job at a time and
// in order; what is asked of kernel and nft is computed by the pure parts (link.h, ipam.h, nft_rules.h).
// Nothing is global to the machine but what the options say, so two daemons in two namespaces do not meet.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "loop/loop.h"
#include "net/ipam.h"
#include "net/nft_rules.h"

namespace limpet::net {

struct NetworkOptions {
  std::string bridge = "limpet0";
  Cidr pods;   // of the cluster
  Cidr local;  // of this device
  uint32_t mtu = 1500;
  std::string lease_dir;  // below the runtime directory
  std::string table = "limpet";
};

struct HostPortRequest {
  std::string protocol;  // "TCP", "UDP", "SCTP"
  std::string host_ip;
  uint16_t host_port = 0;
  uint16_t container_port = 0;
};

class PodNetworks {
 public:
  PodNetworks(loop::Loop& loop, NetworkOptions options);
  ~PodNetworks();

  // Bridge, forwarding, rules, leases of an earlier run. Called once; others wait behind it.
  void start(std::function<void(Result<>)> done);

  // Idempotent: an attached pod keeps its address. `netns_path` is the bind mount that holds the namespace.
  void attach(const std::string& pod_uid, const std::string& netns_path, std::vector<HostPortRequest> ports,
              std::function<void(Result<std::string>)> done);
  // Idempotent. The address is not given out again before the range went round.
  void detach(const std::string& pod_uid, std::function<void(Result<>)> done);
  // Detaches everything that belongs to no pod of the list: leftovers of pods that went while the daemon was
  // away.
  void retain(const std::vector<std::string>& pod_uids);
  // Removes bridge and rules (reset of the device).
  void remove_all(std::function<void(Result<>)> done);

  size_t attached() const;
  std::string gateway() const;

 private:
  struct Job;
  struct State;
  void enqueue(std::function<Result<std::string>(State&)> work,
               std::function<void(Result<std::string>)> done);
  void next();

  loop::Loop& loop_;
  std::shared_ptr<State> state_;  // touched by the running job only
  std::deque<Job> jobs_;
  loop::Work work_;
  std::shared_ptr<Result<std::string>> outcome_;
  size_t attached_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The name of the host's end of a pod's veth pair: 15 bytes at most, equal for equal pods.
std::string host_interface(const std::string& pod_uid);

}  // namespace limpet::net

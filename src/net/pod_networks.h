// The networks of this device's pods: a bridge, a veth pair and an address per pod, masquerading and host
// ports.
//
// Owned by the daemon, lives as long as it. Every change runs as one job on the pool, one job at a time and
// in order; what is asked of kernel and nft is computed by the pure parts (link.h, ipam.h, nft_rules.h).
// What others take away (`nft flush ruleset`, a deleted bridge or link) the kernel tells, and it is set right
// again; what cannot be set up is tried again, ever more seldom.
// Nothing is global to the machine but what the options say, so two daemons in two namespaces do not meet.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "loop/loop.h"
#include "net/ipam.h"
#include "net/nft_rules.h"

namespace limpet::net {

struct NetworkOptions {
  bool enabled = true;  // false: no bridge, no rules, every attach is refused with the reason
  std::string bridge = "limpet0";
  Cidr pods;              // of the cluster
  Cidr local;             // of this device
  uint32_t mtu = 0;       // of pod links, bytes; 0: that of the default route's link as a pod is attached
  std::string lease_dir;  // below the runtime directory
  std::string table = "limpet";
};

struct HostPortRequest {
  std::string protocol;  // "TCP", "UDP", "SCTP"
  std::string host_ip;
  uint16_t host_port = 0;
  uint16_t container_port = 0;
};

class KernelWatch;
class NetworkState;

class PodNetworks {
 public:
  PodNetworks(loop::Loop& loop, NetworkOptions options);
  ~PodNetworks();

  // Bridge, forwarding, rules, leases of an earlier run. Called once; others wait behind it. An error is not
  // the end: it is tried again, and what becomes of it goes to on_problem.
  void start(std::function<void(Result<>)> done);
  // Called when what is wrong with the network became something else than start() or the last call said; ""
  // when nothing is any more.
  void on_problem(std::function<void(const std::string&)> f) { on_problem_ = std::move(f); }

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
  using Outcome = Result<std::string>;
  void enqueue(std::function<Outcome(NetworkState&)> work, std::function<void(Outcome)> done);
  void next();
  void started(Result<> r, const std::function<void(Result<>)>& done);
  void watch();
  void touched();
  void check();
  void checked(const Outcome& mended);
  void note(const std::string& problem);

  loop::Loop& loop_;
  const NetworkOptions options_;
  std::shared_ptr<NetworkState> state_;  // touched by the running job only
  std::deque<Job> jobs_;
  loop::Work work_;
  size_t attached_ = 0;
  std::set<std::string> links_;  // host's ends of the pods attached
  std::unique_ptr<KernelWatch> watch_;
  loop::Timer settle_, retry_;
  bool running_ = false;  // start() came to an end
  std::string problem_;   // of the last job
  std::function<void(const std::string&)> on_problem_;
  int64_t retry_ms_ = 0, mended_ms_ = 0;
  int mends_ = 0;  // in a row, each soon after the one before
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The name of the host's end of a pod's veth pair: 15 bytes at most, equal for equal pods.
std::string host_interface(const std::string& pod_uid);

}  // namespace limpet::net

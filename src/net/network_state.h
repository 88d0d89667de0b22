// What PodNetworks does on the pool: the pods' network as the kernel has it, brought to what it should be.
//
// Touched by one job at a time, on whichever pool thread runs it; blocking (netlink, nft, files).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ipam.h"
#include "net/netlink_socket.h"
#include "net/nft_rules.h"
#include "net/pod_networks.h"
#include "net/uplink.h"

namespace limpet::net {

class NetworkState {
 public:
  explicit NetworkState(NetworkOptions options) : options_(std::move(options)), pool_(options_.local) {}

  // Leases of an earlier run, then mend(). Without a pod network: removes what an earlier run left.
  Result<> start();
  // Compares what the kernel has with what should be there and sets right what differs: bridge, forwarding,
  // links of pods, rules. What that was, for people; empty when nothing.
  Result<std::string> mend();
  Result<std::string> attach(const std::string& uid, const std::string& netns,
                             const std::vector<HostPortRequest>& ports);
  Result<> detach(const std::string& uid);
  Result<> retain(const std::vector<std::string>& uids);
  Result<> remove_all();

  size_t attached() const { return pool_.owners().size(); }
  // Why the network is not as it should be, as of the last job; empty when it is.
  const std::string& problem() const { return problem_; }

 private:
  Result<> load();
  Result<std::string> mend_all();
  Result<> ensure_bridge(NetlinkSocket& host, bool* changed);
  Result<> ensure_links(NetlinkSocket& host, std::string* mended);
  Result<> ensure_rules(bool* changed);
  Result<> apply_rules();
  Result<> allow_loopback();
  Result<> connect(const std::string& uid, int netns_fd, Ipv4 address);
  Result<> configure_inside(NetlinkSocket& inside, Ipv4 address);
  uint32_t mtu(NetlinkSocket& host);

  NetworkOptions options_;
  AddressPool pool_;
  bool loaded_ = false;  // the leases of an earlier run are known
  std::map<std::string, std::vector<PortMapping>> ports_;
  std::map<std::string, std::string> netns_;  // of the pods attached in this run, by uid
  bool rules_stale_ = true;                   // the kernel may not have what ports_ says
  std::string fingerprint_;                   // of the table as it was set last
  std::optional<Uplink> uplink_;              // the last one seen
  std::string problem_;
};

}  // namespace limpet::net

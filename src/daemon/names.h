// What this device is called and reached by: the names and addresses of its serving certificate.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/config.h"
#include "loop/poll.h"
#include "pki/certificate.h"

namespace limpet::daemon {

// Addresses of links that are up, without link-local ones, sorted. Blocking for a moment (netlink dump).
Result<std::vector<std::string>> device_addresses();

// Pure: the names of the API inside and outside of the cluster, loopback, the given addresses, the first
// service address, and tls.names. Each once.
pki::Names serving_names(const Config& config, const std::string& node_name, const std::string& host_name,
                         const std::vector<std::string>& addresses);

// The first address of a range after its own ("10.43.0.0/16" gives 10.43.0.1): the service `kubernetes`.
std::string first_address(const std::string& cidr);

// The address others reach this device by: node.address, else the source of the default route, else the first
// address that no bridge of containers holds, else 127.0.0.1. Blocking for a moment (netlink).
std::string device_address(const Config& config);

// "HOST:PORT", at most two, at which other devices reach this one's port 6444: by its address, then by the
// name that stays when that changes. Blocking as device_address().
std::vector<std::string> peers_addresses(const Config& config);

// https://HOST:PORT as the device itself reaches the API.
std::string local_api_url(const Config& config);

// Calls back when an address of the device came or went (RTM_NEWADDR, RTM_DELADDR), or, if asked for, an IPv4
// route, at most once per settle_ms.
class AddressWatch {
 public:
  enum class Of { addresses, addresses_and_routes };
  static Result<std::unique_ptr<AddressWatch>> make(loop::Loop& loop, Of what, int64_t settle_ms,
                                                    loop::Task changed);
  ~AddressWatch();
  AddressWatch(const AddressWatch&) = delete;

 private:
  struct Impl;
  explicit AddressWatch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::daemon

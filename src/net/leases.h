// Leases of pod addresses as files in the runtime directory: DIR/ADDRESS holds the pod's uid, DIR/last the
// address given last. The directory is on tmpfs and dies with the namespaces that use the addresses, so
// nothing stale survives a reboot and flash is never written. One process owns the directory (the lock on the
// data directory sees to that).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ipam.h"
#include "net/nft_rules.h"

namespace limpet::net {

struct Lease {
  std::string pod_uid;
  std::vector<PortMapping> ports;
};

// Makes the directory and returns every lease by address; files that are no lease of the pool's range are
// removed. The pool knows all of them and the address given last afterwards.
Result<std::map<Ipv4, Lease>> load_leases(const std::string& dir, AddressPool* pool);
Result<> write_lease(const std::string& dir, Ipv4 address, const Lease& lease);
Result<> remove_lease(const std::string& dir, Ipv4 address);
// The directory itself, once no lease is left.
Result<> remove_leases(const std::string& dir);

}  // namespace limpet::net

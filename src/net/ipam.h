// The addresses of this device's pods: which are taken, which comes next. Pure; leases.h keeps the result
// over restarts.
//
// Allocation goes round: the next address is the first free one behind the last given, so that an address is
// not used again until the whole range went by (connections to a pod that is gone fail instead of reaching a
// stranger).
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "net/link.h"

namespace limpet::net {

class AddressPool {
 public:
  // The first host address is the bridge's; network and broadcast addresses are never given.
  explicit AddressPool(Cidr range);

  Ipv4 gateway() const { return range_.first_host(); }
  const Cidr& range() const { return range_; }

  // The owner's address; equal owners get equal addresses. Errors: exhausted.
  Result<Ipv4> allocate(const std::string& owner);
  // Records what an earlier run gave. Errors: invalid_argument (not of the range), already_exists.
  Result<> adopt(const std::string& owner, Ipv4 address);
  bool release(const std::string& owner);
  const Ipv4* find(const std::string& owner) const;
  void set_last(Ipv4 address) { last_ = address; }
  Ipv4 last() const { return last_; }
  const std::map<std::string, Ipv4>& owners() const { return owners_; }

 private:
  Cidr range_;
  Ipv4 last_;
  std::map<std::string, Ipv4> owners_;
  std::map<Ipv4, std::string> taken_;
};

}  // namespace limpet::net

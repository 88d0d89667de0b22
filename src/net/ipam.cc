#include "net/ipam.h"

#include "base/assert.h"

namespace limpet::net {

AddressPool::AddressPool(Cidr range) : range_(range), last_(range.first_host()) {
  LIMPET_ASSERT(range.bits <= 30);
}

Result<Ipv4> AddressPool::allocate(const std::string& owner) {
  if (const Ipv4* have = find(owner)) return *have;
  const uint32_t first = range_.first_host().host_order + 1;
  const uint32_t end = range_.base.host_order + range_.size() - 1;  // the broadcast address
  uint32_t at = range_.contains(last_) && last_.host_order + 1 >= first ? last_.host_order + 1 : first;
  for (uint32_t tried = 0; tried < end - first; tried++, at++) {
    if (at >= end) at = first;
    if (taken_.contains({at})) continue;
    last_ = {at};
    owners_[owner] = last_;
    taken_[last_] = owner;
    return last_;
  }
  return fail(Errc::exhausted,
              "no free pod address in " + range_.text() + ": remove pods or widen the range of this device");
}

Result<> AddressPool::adopt(const std::string& owner, Ipv4 address) {
  if (!range_.contains(address) || address <= gateway()) {
    return fail(Errc::invalid_argument, address.text() + " is not a pod address of " + range_.text());
  }
  const auto [it, fresh] = taken_.try_emplace(address, owner);
  if (!fresh && it->second != owner)
    return fail(Errc::already_exists, address.text() + " is taken by " + it->second);
  owners_[owner] = address;
  return {};
}

bool AddressPool::release(const std::string& owner) {
  const auto it = owners_.find(owner);
  if (it == owners_.end()) return false;
  taken_.erase(it->second);
  owners_.erase(it);
  return true;
}

const Ipv4* AddressPool::find(const std::string& owner) const {
  const auto it = owners_.find(owner);
  return it == owners_.end() ? nullptr : &it->second;
}

}  // namespace limpet::net

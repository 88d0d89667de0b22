#include "net/netlink_message.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/assert.h"

namespace limpet::net {

NetlinkMessage::NetlinkMessage(uint16_t type, uint16_t flags) {
  nlmsghdr h{};
  h.nlmsg_type = type;
  h.nlmsg_flags = flags;
  bytes_.assign(reinterpret_cast<const char*>(&h), sizeof h);
}

NetlinkMessage& NetlinkMessage::append(const void* data, size_t size) {
  bytes_.append(static_cast<const char*>(data), size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  return *this;
}

NetlinkMessage& NetlinkMessage::attr(uint16_t type, const void* data, size_t size) {
  LIMPET_ASSERT(size <= UINT16_MAX - NLA_HDRLEN);
  nlattr a{};
  a.nla_type = type;
  a.nla_len = static_cast<uint16_t>(NLA_HDRLEN + size);
  bytes_.append(reinterpret_cast<const char*>(&a), sizeof a);
  return append(data, size);
}

size_t NetlinkMessage::begin(uint16_t type) {
  const size_t mark = bytes_.size();
  attr(type, nullptr, 0);
  return mark;
}

NetlinkMessage& NetlinkMessage::end(size_t mark) {
  const size_t size = bytes_.size() - mark;
  LIMPET_ASSERT(size <= UINT16_MAX);
  const auto len = static_cast<uint16_t>(size);
  memcpy(bytes_.data() + mark + offsetof(nlattr, nla_len), &len, sizeof len);
  return *this;
}

const std::string& NetlinkMessage::finish(uint32_t sequence) {
  nlmsghdr h{};
  memcpy(&h, bytes_.data(), sizeof h);
  h.nlmsg_len = static_cast<uint32_t>(bytes_.size());
  h.nlmsg_seq = sequence;
  memcpy(bytes_.data(), &h, sizeof h);
  return bytes_;
}

void each_attribute(std::string_view bytes, const std::function<void(uint16_t, std::string_view)>& f) {
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr a{};
    memcpy(&a, bytes.data(), sizeof a);
    if (a.nla_len < sizeof a || a.nla_len > bytes.size()) return;
    f(a.nla_type & NLA_TYPE_MASK, bytes.substr(NLA_HDRLEN, a.nla_len - NLA_HDRLEN));
    const size_t step = NLA_ALIGN(a.nla_len);
    if (step >= bytes.size()) return;
    bytes.remove_prefix(step);
  }
}

void each_message(std::string_view bytes, const std::function<void(uint16_t, std::string_view)>& f) {
  while (bytes.size() >= sizeof(nlmsghdr)) {
    nlmsghdr h{};
    memcpy(&h, bytes.data(), sizeof h);
    if (h.nlmsg_len < sizeof h || h.nlmsg_len > bytes.size()) return;
    f(h.nlmsg_type, bytes.substr(NLMSG_HDRLEN, h.nlmsg_len - NLMSG_HDRLEN));
    bytes.remove_prefix(std::min<size_t>(NLMSG_ALIGN(h.nlmsg_len), bytes.size()));
  }
}

}  // namespace limpet::net

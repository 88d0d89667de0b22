// rtnetlink messages as bytes: built and read here, sent elsewhere, so that what is asked of the kernel can
// be compared in tests. Source: RFC 3549, linux/rtnetlink.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace limpet::net {

// Builds one request. Attributes are aligned and nested by it; sizes are checked against what a u16 length
// can say.
class NetlinkMessage {
 public:
  NetlinkMessage(uint16_t type, uint16_t flags);
  template <class T>
  NetlinkMessage& header(const T& fixed) {  // ifinfomsg, ifaddrmsg, rtmsg, ndmsg
    return append(&fixed, sizeof fixed);
  }
  NetlinkMessage& attr(uint16_t type, const void* data, size_t size);
  NetlinkMessage& attr(uint16_t type, std::string_view bytes) {
    return attr(type, bytes.data(), bytes.size());
  }
  NetlinkMessage& attr_string(uint16_t type, const std::string& s) {
    return attr(type, s.c_str(), s.size() + 1);
  }
  NetlinkMessage& attr_u8(uint16_t type, uint8_t v) { return attr(type, &v, sizeof v); }
  NetlinkMessage& attr_u32(uint16_t type, uint32_t v) { return attr(type, &v, sizeof v); }
  // Opens a nested attribute; what follows goes into it until end().
  size_t begin(uint16_t type);
  NetlinkMessage& end(size_t mark);
  // A fixed struct inside a nested attribute (VETH_INFO_PEER carries an ifinfomsg).
  NetlinkMessage& append(const void* data, size_t size);

  // The finished bytes with this sequence number.
  const std::string& finish(uint32_t sequence);

 private:
  std::string bytes_;
};

// Walks the attributes in `bytes`; stops at the first malformed one. The nested flag is masked off the type.
void each_attribute(std::string_view bytes,
                    const std::function<void(uint16_t type, std::string_view data)>& f);

// Walks the messages of a datagram of notifications; stops at the first malformed one.
void each_message(std::string_view bytes,
                  const std::function<void(uint16_t type, std::string_view payload)>& f);

}  // namespace limpet::net

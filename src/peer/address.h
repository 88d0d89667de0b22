// Where a device listens, as text: "host", "host:port", "[v6]", "[v6]:port", or a bare IPv6 address. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "peer/wire.h"

namespace limpet::peer {

constexpr size_t kMaxAddress = 260;

struct Address {
  std::string host;  // without brackets
  uint16_t port = kDefaultPort;
  std::string text() const;  // the one form in which it is kept and compared: always with the port
};

Result<Address> parse_address(std::string_view text);
// The host of what loop::Stream::peer() says; empty for other streams than TCP.
std::string host_of(std::string_view stream_peer);

}  // namespace limpet::peer

#include "peer/address.h"

#include <arpa/inet.h>

namespace limpet::peer {
namespace {

std::unexpected<Error> malformed(std::string_view text, const char* what) {
  return fail(Errc::invalid_argument,
              strf("'%.*s' is no address of a device: %s",
                   static_cast<int>(std::min<size_t>(text.size(), 64)), text.data(), what));
}

bool is_ip6(const std::string& host) {
  in6_addr out;
  return inet_pton(AF_INET6, host.c_str(), &out) == 1;
}

bool is_host(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  for (const char c : host) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!word && c != '-' && c != '.' && c != '_') return false;
  }
  return true;
}

// 0 when it is none.
uint16_t port_of(std::string_view text) {
  unsigned value = 0;
  if (text.empty() || text.size() > 5) return 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return 0;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value > 65535 ? 0 : static_cast<uint16_t>(value);
}

}  // namespace

std::string Address::text() const {
  return strf(host.find(':') != std::string::npos ? "[%s]:%u" : "%s:%u", host.c_str(), port);
}

Result<Address> parse_address(std::string_view text) {
  if (text.size() > kMaxAddress) return malformed(text, "it is too long");
  Address out;
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return malformed(text, "a bracket is missing");
    out.host = text.substr(1, close - 1);
    port = text.substr(close + 1);
    if (!is_ip6(out.host)) return malformed(text, "only an IPv6 address stands in brackets");
  } else if (is_ip6(std::string(text))) {
    out.host = text;
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    out.host = text.substr(0, colon);
    port = text.substr(colon);
    if (!is_host(out.host)) return malformed(text, "the host is no name and no IP address");
  }
  if (port.empty()) return out;
  out.port = port_of(port.substr(1));
  if (!port.starts_with(':') || out.port == 0) return malformed(text, "the port is not 1 to 65535");
  return out;
}

std::string host_of(std::string_view stream_peer) {
  const Result<Address> address = parse_address(stream_peer);
  return address ? address->host : "";
}

}  // namespace limpet::peer

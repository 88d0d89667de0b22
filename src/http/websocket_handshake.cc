#include <mbedtls/md.h>

#include "base/random.h"
#include "http/websocket.h"

namespace limpet::http {

std::string websocket_accept_key(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[20];
  // RFC 6455 fixes SHA-1 here; it proves that the server read the request, nothing more.
  mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA1), reinterpret_cast<const unsigned char*>(text.data()),
             text.size(), digest);
  return base64_encode({reinterpret_cast<const char*>(digest), sizeof digest});
}

std::string websocket_new_key() {
  char bytes[16];
  SystemRandom random;
  random.fill(bytes, sizeof bytes);
  return base64_encode({bytes, sizeof bytes});
}

Result<std::string> websocket_accept(const Request& request, std::string_view subprotocol) {
  const Headers& h = request.headers;
  if (request.method != "GET") return fail(Errc::invalid_argument, "a WebSocket handshake is a GET request");
  if (!h.has_token("Connection", "upgrade") || !h.has_token("Upgrade", "websocket")) {
    return fail(Errc::invalid_argument, "this is no WebSocket handshake: Upgrade: websocket is missing");
  }
  if (h.get("Sec-WebSocket-Version") != "13") {
    return fail(Errc::unsupported, "only version 13 of the WebSocket protocol is served");
  }
  const auto keys = h.all("Sec-WebSocket-Key");
  if (keys.size() != 1) return fail(Errc::invalid_argument, "there must be one Sec-WebSocket-Key");
  const auto key = base64_decode(keys[0]);
  if (!key || key->size() != 16) return fail(Errc::invalid_argument, "malformed Sec-WebSocket-Key");
  if (!subprotocol.empty()) {
    // Subprotocol names are case-sensitive, unlike most tokens.
    bool offered = false;
    for (std::string_view list : h.all("Sec-WebSocket-Protocol")) {
      while (!list.empty() && !offered) {
        const size_t end = std::min(list.find(','), list.size());
        std::string_view item = list.substr(0, end);
        while (item.starts_with(' ')) item.remove_prefix(1);
        while (item.ends_with(' ')) item.remove_suffix(1);
        offered = item == subprotocol;
        list.remove_prefix(std::min(end + 1, list.size()));
      }
    }
    if (!offered) return fail(Errc::unsupported, "the client does not offer that WebSocket subprotocol");
  }
  return websocket_accept_key(keys[0]);
}

}  // namespace limpet::http

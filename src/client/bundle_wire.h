// Many streams of the API over one WebSocket: what the two ends say. Pure.
//
// A device watches its pods and each ConfigMap and Secret that they mention; HTTP/1.1 carries one watch a
// connection, and a TLS connection costs 36 KB at each end and one of the few that a server takes. So an
// agent asks at GET /limpet/v1/streams for a WebSocket of subprotocol limpet-streams.v1 and has all its
// watches there (client/bundle.h, daemon/stream_service.h).
//
//   to the server, text:    "open ID TARGET", "close ID"; an ID is used once, TARGET is path and query
//   from it, binary:        ID (4 bytes, big-endian), kind, payload
//     'h' status, decimal; 'd' bytes of the body; 'e' the body is complete; 'b' it was broken off
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::client {

constexpr const char* bundle_path = "/limpet/v1/streams";
constexpr const char* bundle_protocol = "limpet-streams.v1";
constexpr size_t max_bundle_target = 8 * 1024;
constexpr size_t max_bundle_piece = 64 * 1024;  // of a body in one message

struct BundleAsk {
  uint32_t id = 0;     // never 0
  std::string target;  // empty: close
};
std::string encode_open(uint32_t id, std::string_view target);
std::string encode_close(uint32_t id);
Result<BundleAsk> decode_ask(std::string_view message);

enum class BundleKind : char { head = 'h', data = 'd', end = 'e', broken = 'b' };
struct BundlePiece {
  uint32_t id = 0;
  BundleKind kind = BundleKind::end;
  int status = 0;          // head
  std::string_view bytes;  // data
};
std::string encode_head(uint32_t id, int status);
std::string encode_piece(uint32_t id, BundleKind kind, std::string_view bytes = {});
Result<BundlePiece> decode_piece(std::string_view message);

}  // namespace limpet::client

// The messages between a server and an agent. Payloads: ping, pong: token; open_stream: id, purpose byte;
// servers: a count, then member, name, port of the API, addresses of each; authorities: a count, then the
// hash of each. Numbers are varints.
#include "base/assert.h"
#include "base/varint.h"
#include "peer/text.h"
#include "peer/wire.h"

namespace limpet::peer {
namespace {

constexpr size_t max_name = 253;
constexpr size_t max_address = 260;
constexpr size_t hash_digits = 64;

std::string payload_of(const Servers& message) {
  LIMPET_ASSERT(message.servers.size() <= kMaxServers);
  std::string out;
  put_varint(out, message.servers.size());
  for (const ServerEntry& server : message.servers) {
    put_varint(out, server.member);
    put_bytes(out, server.name);
    put_varint(out, server.api_port);
    put_varint(out, server.addresses.size());
    for (const std::string& address : server.addresses) put_bytes(out, address);
  }
  return out;
}

std::string payload_of(const OpenStream& message) {
  std::string out;
  put_varint(out, message.id);
  out.push_back(static_cast<char>(message.purpose));
  return out;
}

std::string payload_of(const Authorities& message) {
  LIMPET_ASSERT(!message.keys.empty() && message.keys.size() <= kMaxAuthorities);
  std::string out;
  put_varint(out, message.keys.size());
  for (const std::string& key : message.keys) put_bytes(out, key);
  return out;
}

std::string payload_of(uint64_t token) {
  std::string out;
  put_varint(out, token);
  return out;
}

ServerEntry read_server(ByteReader& in) {
  ServerEntry server;
  server.member = in.varint();
  server.name = in.bytes(max_name);
  const uint64_t port = in.varint();
  if (in.ok() && (server.member == 0 || !is_name(server.name) || port == 0 || port > 65535)) in.bad();
  server.api_port = static_cast<uint16_t>(port);
  const uint64_t addresses = in.varint();
  if (addresses > kMaxAddresses) in.bad();
  for (uint64_t i = 0; i < addresses && in.ok(); ++i) server.addresses.emplace_back(in.bytes(max_address));
  return server;
}

Servers read_servers(ByteReader& in) {
  Servers out;
  const uint64_t count = in.varint();
  if (count > kMaxServers) in.bad();
  for (uint64_t i = 0; i < count && in.ok(); ++i) out.servers.push_back(read_server(in));
  return out;
}

bool is_hash(std::string_view text) {
  return text.size() == hash_digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Authorities read_authorities(ByteReader& in) {
  Authorities out;
  const uint64_t count = in.varint();
  if (count == 0 || count > kMaxAuthorities) in.bad();
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    out.keys.emplace_back(in.bytes(hash_digits));
    if (!is_hash(out.keys.back())) in.bad();
  }
  return out;
}

ControlMessage read(ByteReader& in, FrameType type) {
  switch (type) {
    case FrameType::ping:
      return Ping{in.varint()};
    case FrameType::pong:
      return Pong{in.varint()};
    case FrameType::servers:
      return read_servers(in);
    case FrameType::open_stream: {
      OpenStream message{in.varint(), static_cast<Purpose>(in.byte())};
      if (message.id == 0 || message.purpose != Purpose::node_service) in.bad();
      return message;
    }
    case FrameType::authorities:
      return read_authorities(in);
    case FrameType::raft:
      break;
  }
  in.bad();
  return Ping{};
}

}  // namespace

std::string encode(const ControlMessage& message) {
  if (const auto* ping = std::get_if<Ping>(&message)) return frame(FrameType::ping, payload_of(ping->token));
  if (const auto* pong = std::get_if<Pong>(&message)) return frame(FrameType::pong, payload_of(pong->token));
  if (const auto* servers = std::get_if<Servers>(&message)) {
    return frame(FrameType::servers, payload_of(*servers));
  }
  if (const auto* authorities = std::get_if<Authorities>(&message)) {
    return frame(FrameType::authorities, payload_of(*authorities));
  }
  return frame(FrameType::open_stream, payload_of(std::get<OpenStream>(message)));
}

Result<ControlMessage> decode_control(const Frame& frame) {
  ByteReader in(frame.payload);
  ControlMessage message = read(in, frame.type);
  if (!in.ok() || !in.at_end()) {
    return fail(Errc::corrupt,
                strf("a malformed control message of type %u", static_cast<unsigned>(frame.type)));
  }
  return message;
}

}  // namespace limpet::peer

// What passes over port 6444 as bytes, and back. Pure. What arrives is hostile until it has passed a decode.
//
// A connection begins with one envelope in each direction: the dialler's hello and the acceptor's answer.
// Envelope: "LIMPET", u16 length of the body (big-endian, at most 4 KiB), body. A body begins, in every
// version of the protocol, with the lowest and the highest version its sender speaks (varints), so that a
// device of any version can be told what is wrong. Both then speak the highest version that both know.
//   hello 1:  kind byte, cluster id, member, member wanted, session, name, software, port, stream,
//             addresses (a count, then each)
//   answer 1: 0, version chosen, member, session, name, software, port, addresses
//         or: reason byte (never 0), text
// Numbers are varints, runs of bytes have a varint length before them. A sender of a newer version may put
// more behind what is known here; otherwise nothing may follow.
//
// After that, by kind: frames (raft, agent) or HTTP/1.1 (api, node, stream). Frame: u32 length of what
// follows (big-endian, never 0), type byte, payload. A type that the kind does not have is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace limpet::peer {

using MemberId = uint64_t;  // as raft's; 0: nobody, or an agent

constexpr uint64_t kMinVersion = 1;
constexpr uint64_t kMaxVersion = 2;
constexpr uint64_t kAuthoritiesVersion = 2;  // an agent knows the frame `authorities` from here on

constexpr uint16_t kDefaultPort = 6444;
constexpr size_t kClusterBytes = 16;
constexpr size_t kEnvelopeHead = 8;
constexpr size_t kMaxHello = 4096;         // body of an envelope
constexpr size_t kMaxRaft = 32u << 20;     // raft::kMaxMessage
constexpr size_t kMaxControl = 64u << 10;  // payload of the frames between a server and an agent
constexpr size_t kMaxAddresses = 8;        // that one device may listen on, as far as others are told
constexpr size_t kMaxServers = 64;         // in a roll
constexpr size_t kMaxAuthorities = 16;     // that a server tells an agent of
constexpr size_t kFrameHead = 5;

enum class Kind : uint8_t {
  raft = 1,    // frames of raft messages, from the dialler only
  api = 2,     // HTTP/1.1: a server asks another one's API
  node = 3,    // HTTP/1.1: a server asks another one's node service
  agent = 4,   // frames both ways: an agent's control connection
  stream = 5,  // HTTP/1.1 with the dialler, an agent, as server: what was asked for on its control connection
};
constexpr size_t kKinds = 6;
const char* kind_name(Kind kind);
constexpr bool between_servers(Kind kind) {
  return kind == Kind::raft || kind == Kind::api || kind == Kind::node;
}

// Why a connection was refused. The numbers are on the wire: none is ever used again for something else.
enum class Reason : uint8_t {
  none = 0,
  malformed = 1,       // bytes that are not ours
  version = 2,         // of the protocol, or a kind of connection unknown here
  cluster = 3,         // the sender belongs to another cluster
  certificate = 4,     // none, or one that says nothing about a device
  not_a_server = 5,    // the certificate is not a server's
  name = 6,            // the certificate is for another device
  not_me = 7,          // the member wanted is not this one
  my_own_id = 8,       // the sender carries this member's own id
  unknown_member = 9,  // not (yet) a member, as far as is known here
  removed = 10,        // not a member any more
  denied = 11,         // the certificate was revoked
  busy = 12,           // too many connections, or not ready yet
  stream = 13,         // nobody asked for this stream
  handshake = 14,      // TLS failed: counted and logged, never sent
  silent = 15,         // no hello within the time: counted and logged, never sent
  other = 255,         // of a newer version
};
constexpr size_t kReasons = 16;
const char* reason_name(Reason reason);

struct Refusal {
  Reason reason = Reason::none;
  std::string text;  // for people; at most 512 bytes are sent
};

// What a device says about itself in both envelopes.
struct About {
  MemberId member = 0;
  uint64_t session = 0;  // drawn when the process began: another one means that it was started anew
  std::string name;      // of the device, as in its certificate
  std::string software;  // "limpet 0.4.0"
  uint16_t port = 0;     // it listens on; 0: it does not
  std::vector<std::string> addresses;  // it may be reached at (see address.h)
  bool operator==(const About&) const = default;
};

struct Hello {
  uint64_t version = kMaxVersion;  // to speak: the highest that both know; set when it is read
  Kind kind = Kind::raft;
  std::string cluster;  // kClusterBytes
  MemberId wanted = 0;  // 0: whoever listens there
  uint64_t stream = 0;  // kind stream: the id that the server gave
  About about;
  bool operator==(const Hello&) const = default;
};

struct Answer {
  uint64_t version = 0;
  About about;
  std::optional<Refusal> refused;  // then nothing else counts
};

// Of the envelope at the beginning of `bytes`, head included; 0: more bytes are needed. `corrupt`: these are
// not ours.
Result<size_t> envelope_size(std::string_view bytes);

std::string encode(const Hello& hello);
std::string encode(const Answer& answer);
// Of a whole envelope. `unsupported`: no version in common, or an unknown kind; `corrupt`: anything else that
// encode() would not have made.
Result<Hello> decode_hello(std::string_view envelope);
Result<Answer> decode_answer(std::string_view envelope);

enum class FrameType : uint8_t {
  raft = 1,
  ping = 16,
  pong = 17,
  servers = 18,
  open_stream = 19,
  authorities = 20,  // version 2
};

struct Frame {
  FrameType type;
  std::string_view payload;
};

// Puts the head before a payload.
std::string frame(FrameType type, std::string payload);

// Frames out of the bytes of a connection. Memory is taken for what has come, never for what a length claims.
class FrameReader {
 public:
  explicit FrameReader(Kind kind) : kind_(kind) {}
  void add(std::string_view bytes) { buffer_.append(bytes); }
  // The next whole frame, nothing when more bytes are needed. The payload is valid until the next call of
  // either. After an error every call gives it again.
  Result<std::optional<Frame>> next();
  size_t held() const { return buffer_.size() - at_; }

 private:
  Kind kind_;
  std::string buffer_;
  size_t at_ = 0;
};

// The messages on an agent's control connection.
struct Ping {
  uint64_t token = 0;
  bool operator==(const Ping&) const = default;
};
struct Pong {
  uint64_t token = 0;  // the ping's
  bool operator==(const Pong&) const = default;
};
struct ServerEntry {
  MemberId member = 0;
  std::string name;
  std::vector<std::string> addresses;  // of its port 6444
  uint16_t api_port = 0;               // on the same hosts
  bool operator==(const ServerEntry&) const = default;
};
struct Servers {
  std::vector<ServerEntry> servers;  // at most kMaxServers
  bool operator==(const Servers&) const = default;
};
// The authorities that the server trusts, the one that signs first: an agent that goes by others asks for
// theirs.
struct Authorities {
  std::vector<std::string>
      keys;  // SHA-256 of their SubjectPublicKeyInfo, 64 hex digits; 1 to kMaxAuthorities
  bool operator==(const Authorities&) const = default;
};
enum class Purpose : uint8_t { node_service = 1 };
struct OpenStream {
  uint64_t id = 0;  // to be given back in the hello of the stream
  Purpose purpose = Purpose::node_service;
  bool operator==(const OpenStream&) const = default;
};
using ControlMessage = std::variant<Ping, Pong, Servers, OpenStream, Authorities>;

std::string encode(const ControlMessage& message);  // a whole frame
Result<ControlMessage> decode_control(const Frame& frame);

}  // namespace limpet::peer

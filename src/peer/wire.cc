#include "peer/wire.h"

#include <algorithm>

#include "base/assert.h"
#include "base/varint.h"
#include "peer/text.h"

namespace limpet::peer {
namespace {

constexpr std::string_view magic = "LIMPET";
constexpr size_t max_name = 253;
constexpr size_t max_software = 128;
constexpr size_t max_address = 260;
constexpr size_t max_text = 512;
constexpr size_t keep_buffer = 64 * 1024;  // that an idle connection may hold on to

struct Versions {
  uint64_t min = 0, max = 0;
};

std::string range(uint64_t min, uint64_t max) {
  const auto number = [](uint64_t n) { return std::to_string(n); };
  return min == max ? "version " + number(min) : "versions " + number(min) + " to " + number(max);
}

std::string envelope(const std::string& body) {
  LIMPET_ASSERT(body.size() <= kMaxHello);
  std::string out(magic);
  out.push_back(static_cast<char>(body.size() >> 8));
  out.push_back(static_cast<char>(body.size()));
  return out + body;
}

std::string versions_of_ours() {
  std::string out;
  put_varint(out, kMinVersion);
  put_varint(out, kMaxVersion);
  return out;
}

void put_about(std::string& out, const About& about) {
  LIMPET_ASSERT(about.addresses.size() <= kMaxAddresses);
  put_varint(out, about.member);
  put_varint(out, about.session);
  put_bytes(out, about.name);
  put_bytes(out, std::string_view(about.software).substr(0, max_software));
  put_varint(out, about.port);
  put_varint(out, about.addresses.size());
  for (const std::string& address : about.addresses) put_bytes(out, address);
}

bool read_addresses(ByteReader& in, std::vector<std::string>& out) {
  const uint64_t count = in.varint();
  if (count > kMaxAddresses) return in.bad();
  for (uint64_t i = 0; i < count && in.ok(); ++i) out.emplace_back(in.bytes(max_address));
  return in.ok();
}

uint16_t read_port(ByteReader& in) {
  const uint64_t port = in.varint();
  return port > 65535 ? in.bad() : static_cast<uint16_t>(port);
}

std::string read_name(ByteReader& in) {
  std::string name(in.bytes(max_name));
  if (in.ok() && !is_name(name)) in.bad();
  return name;
}

void read_about(ByteReader& in, About& about) {
  about.member = in.varint();
  about.session = in.varint();
  about.name = read_name(in);
  about.software = printable(in.bytes(max_software));
  about.port = read_port(in);
  read_addresses(in, about.addresses);
}

// The version to speak, and `in` behind the range.
Result<Versions> read_versions(ByteReader& in) {
  Versions v;
  v.min = in.varint();
  v.max = in.varint();
  if (!in.ok() || v.min == 0 || v.max < v.min) return fail(Errc::corrupt, "malformed range of versions");
  if (v.min <= kMaxVersion && v.max >= kMinVersion) return v;
  return fail(Errc::unsupported,
              strf("it speaks %s of the peer protocol, this device %s: install the same release of limpet "
                   "on both",
                   range(v.min, v.max).c_str(), range(kMinVersion, kMaxVersion).c_str()));
}

// Nothing may follow, save of a newer version.
bool ended(const ByteReader& in, const Versions& theirs) {
  return in.ok() && (in.at_end() || theirs.max > kMaxVersion);
}

Result<std::string_view> body_of(std::string_view bytes) {
  TRY(const size_t size, envelope_size(bytes));
  if (size == 0 || size != bytes.size()) return fail(Errc::corrupt, "the envelope is not whole");
  return bytes.substr(kEnvelopeHead);
}

bool belongs(Kind kind, uint8_t type) {
  if (kind == Kind::raft) return type == static_cast<uint8_t>(FrameType::raft);
  return kind == Kind::agent && type >= static_cast<uint8_t>(FrameType::ping) &&
         type <= static_cast<uint8_t>(FrameType::authorities);
}

uint32_t big_endian(std::string_view bytes) {
  uint32_t n = 0;
  for (const char c : bytes.substr(0, 4)) n = n << 8 | static_cast<uint8_t>(c);
  return n;
}

}  // namespace

const char* kind_name(Kind kind) {
  constexpr const char* names[kKinds] = {"none", "raft", "api", "node", "agent", "stream"};
  return names[static_cast<uint8_t>(kind)];
}

const char* reason_name(Reason reason) {
  constexpr const char* names[kReasons] = {"none",        "malformed",      "version",   "cluster",
                                           "certificate", "not_a_server",   "name",      "not_me",
                                           "my_own_id",   "unknown_member", "removed",   "denied",
                                           "busy",        "stream",         "handshake", "silent"};
  const auto i = static_cast<size_t>(reason);
  return i < kReasons ? names[i] : "other";
}

Result<size_t> envelope_size(std::string_view bytes) {
  const size_t compared = std::min(bytes.size(), magic.size());
  if (bytes.substr(0, compared) != magic.substr(0, compared)) {
    return fail(Errc::corrupt, "what it sent is not the peer protocol");
  }
  if (bytes.size() < kEnvelopeHead) return size_t{0};
  const size_t size =
      static_cast<size_t>(static_cast<uint8_t>(bytes[6])) << 8 | static_cast<uint8_t>(bytes[7]);
  if (size == 0 || size > kMaxHello) {
    return fail(Errc::corrupt, strf("its hello claims %zu bytes (at most %zu)", size, kMaxHello));
  }
  return bytes.size() < kEnvelopeHead + size ? size_t{0} : kEnvelopeHead + size;
}

std::string encode(const Hello& hello) {
  std::string body = versions_of_ours();
  body.push_back(static_cast<char>(hello.kind));
  put_bytes(body, hello.cluster);
  put_varint(body, hello.wanted);
  put_varint(body, hello.stream);
  put_about(body, hello.about);
  return envelope(body);
}

std::string encode(const Answer& answer) {
  std::string body = versions_of_ours();
  if (answer.refused) {
    LIMPET_ASSERT(answer.refused->reason != Reason::none);
    body.push_back(static_cast<char>(answer.refused->reason));
    put_bytes(body, std::string_view(answer.refused->text).substr(0, max_text));
    return envelope(body);
  }
  body.push_back(0);
  put_varint(body, answer.version);
  put_about(body, answer.about);
  return envelope(body);
}

Result<Hello> decode_hello(std::string_view bytes) {
  TRY(const std::string_view body, body_of(bytes));
  ByteReader in(body);
  TRY(const Versions theirs, read_versions(in));
  Hello hello;
  hello.version = std::min(theirs.max, kMaxVersion);
  const uint8_t kind = in.byte();
  hello.cluster = in.bytes(kClusterBytes);
  hello.wanted = in.varint();
  hello.stream = in.varint();
  read_about(in, hello.about);
  if (!ended(in, theirs) || hello.cluster.size() != kClusterBytes) {
    return fail(Errc::corrupt, "its hello is malformed");
  }
  if (kind == 0 || kind >= kKinds) {
    return fail(Errc::unsupported,
                strf("it wants a connection of kind %u, which this device does not know", kind));
  }
  hello.kind = static_cast<Kind>(kind);
  return hello;
}

Result<Answer> decode_answer(std::string_view bytes) {
  TRY(const std::string_view body, body_of(bytes));
  ByteReader in(body);
  Versions theirs{in.varint(), in.varint()};
  Answer answer;
  const uint8_t verdict = in.byte();
  if (verdict != 0) {
    // A refusal is read whatever version sent it: it may be about just that.
    answer.refused.emplace();
    answer.refused->reason = verdict < kReasons ? static_cast<Reason>(verdict) : Reason::other;
    answer.refused->text = printable(in.bytes(max_text));
    if (!in.ok() || (!in.at_end() && theirs.max <= kMaxVersion)) {
      return fail(Errc::corrupt, "its answer is malformed");
    }
    return answer;
  }
  answer.version = in.varint();
  read_about(in, answer.about);
  if (!ended(in, theirs)) return fail(Errc::corrupt, "its answer is malformed");
  if (answer.version < kMinVersion || answer.version > kMaxVersion) {
    return fail(Errc::unsupported,
                "it answers in a version of the peer protocol that this device did not offer");
  }
  return answer;
}

std::string frame(FrameType type, std::string payload) {
  const auto size = static_cast<uint32_t>(payload.size() + 1);
  const char head[kFrameHead] = {static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                                 static_cast<char>(size >> 8), static_cast<char>(size),
                                 static_cast<char>(type)};
  payload.insert(0, head, sizeof head);
  return payload;
}

Result<std::optional<Frame>> FrameReader::next() {
  const std::string_view rest = std::string_view(buffer_).substr(at_);
  if (rest.size() >= kFrameHead) {
    const uint32_t size = big_endian(rest);
    const auto type = static_cast<uint8_t>(rest[4]);
    const size_t limit = (kind_ == Kind::raft ? kMaxRaft : kMaxControl) + 1;
    if (size == 0 || size > limit) {
      return fail(Errc::corrupt, strf("a frame claims %u bytes (1 to %zu)", size, limit));
    }
    if (!belongs(kind_, type)) {
      return fail(Errc::unsupported,
                  strf("a frame of type %u has no place on a connection of kind %s", type, kind_name(kind_)));
    }
    if (rest.size() >= 4 + size_t{size}) {
      at_ += 4 + size_t{size};
      return std::optional<Frame>(Frame{static_cast<FrameType>(type), rest.substr(kFrameHead, size - 1)});
    }
  }
  // Nobody looks at what was handed out any more.
  buffer_.erase(0, std::exchange(at_, 0));
  if (buffer_.capacity() > keep_buffer && buffer_.size() < keep_buffer) buffer_.shrink_to_fit();
  return std::optional<Frame>();
}

}  // namespace limpet::peer

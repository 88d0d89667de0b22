#include "node/pod/grpc_health.h"

#include "base/result.h"

namespace limpet::node {

namespace {

enum FrameType : uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7 };
constexpr uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8;
constexpr size_t kFrameHeader = 9, kMaxFrame = 16384, kMaxReceived = 64 << 10, kMessageHeader = 5;

void add_number(std::string* out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; i--) out->push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

uint32_t number(std::string_view bytes) {
  uint32_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

void add_frame(std::string* out, uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  add_number(out, payload.size(), 3);
  add_number(out, type, 1);
  add_number(out, flags, 1);
  add_number(out, stream, 4);
  out->append(payload);
}

// Seven bits a byte, the lowest first, as HPACK and protobuf have it.
void add_varint(std::string* out, uint64_t value) {
  for (; value >= 128; value >>= 7) out->push_back(static_cast<char>(value % 128 + 128));
  out->push_back(static_cast<char>(value));
}

// RFC 7541 5.1, for a first byte whose other bits are zero.
void add_prefixed(std::string* out, int prefix_bits, uint64_t value) {
  const uint64_t most = (uint64_t{1} << prefix_bits) - 1;
  if (value < most) return out->push_back(static_cast<char>(value));
  out->push_back(static_cast<char>(most));
  add_varint(out, value - most);
}

void add_text(std::string* out, std::string_view text) {
  add_prefixed(out, 7, text.size());
  out->append(text);
}

// A header whose name is in the static table (RFC 7541, appendix A), never indexed anew.
void add_header(std::string* out, unsigned name, std::string_view value) {
  add_prefixed(out, 4, name);
  add_text(out, value);
}

std::string request_headers(const std::string& authority) {
  std::string out = "\x83\x86";  // :method POST, :scheme http
  add_header(&out, 4, "/grpc.health.v1.Health/Check");
  add_header(&out, 1, authority);
  add_header(&out, 31, "application/grpc");
  add_header(&out, 58, "kube-probe/1.35");
  out.push_back('\0');
  add_text(&out, "te");
  add_text(&out, "trailers");
  return out;
}

// HealthCheckRequest{service}, with the five bytes that gRPC puts before a message.
std::string request_message(const std::string& service) {
  std::string body;
  if (!service.empty()) {
    body.push_back('\x0a');
    add_varint(&body, service.size());
    body += service;
  }
  std::string out(1, '\0');
  add_number(&out, body.size(), 4);
  return out + body;
}

// HealthCheckResponse{status}: the enum's value, 0 when it is left out.
std::optional<uint64_t> serving_status(std::string_view body) {
  uint64_t status = 0;
  const auto varint = [&](uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !body.empty(); shift += 7) {
      const uint8_t byte = static_cast<uint8_t>(body.front());
      body.remove_prefix(1);
      *value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 128) return true;
    }
    return false;
  };
  while (!body.empty()) {
    uint64_t key = 0, value = 0;
    if (!varint(&key) || !varint(&value)) return std::nullopt;
    if (key == 1 << 3) status = value;
    if (key % 8 != 0) {  // a field of another version of the message, with its length
      if (key % 8 != 2 || value > body.size()) return std::nullopt;
      body.remove_prefix(value);
    }
  }
  return status;
}

GrpcHealth::Verdict verdict_of(std::string_view body) {
  const auto status = serving_status(body);
  if (!status) return {false, "health rpc failed: the answer is malformed"};
  if (*status == 1) return {true, ""};
  static constexpr const char* kNames[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  return {false, strf("service unhealthy (responded with \"%s\")", *status < 4 ? kNames[*status] : "?")};
}

}  // namespace

GrpcHealth::GrpcHealth(const std::string& authority, const std::string& service) {
  output_ = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  std::string settings;
  add_number(&settings, 1, 2);  // SETTINGS_HEADER_TABLE_SIZE 0
  add_number(&settings, 0, 4);
  add_number(&settings, 2, 2);  // SETTINGS_ENABLE_PUSH 0
  add_number(&settings, 0, 4);
  add_frame(&output_, kSettings, 0, 0, settings);
  add_frame(&output_, kHeaders, kEndHeaders, 1, request_headers(authority));
  add_frame(&output_, kData, kEndStream, 1, request_message(service));
}

GrpcHealth::Verdict GrpcHealth::closed() const {
  return {false, "health rpc failed: the server closed the connection without an answer"};
}

std::optional<GrpcHealth::Verdict> GrpcHealth::feed(std::string_view bytes) {
  received_ += bytes.size();
  input_.append(bytes);
  while (input_.size() >= kFrameHeader) {
    const std::string_view head(input_);
    const size_t size = number(head.substr(0, 3));
    if (size > kMaxFrame || received_ > kMaxReceived)
      return Verdict{false, "health rpc failed: the server does not speak HTTP/2 as gRPC does"};
    if (input_.size() < kFrameHeader + size) return std::nullopt;
    auto verdict = frame(static_cast<uint8_t>(head[3]), static_cast<uint8_t>(head[4]),
                         number(head.substr(5, 4)) & 0x7fffffff, head.substr(kFrameHeader, size));
    if (verdict) return verdict;
    input_.erase(0, kFrameHeader + size);
  }
  return std::nullopt;
}

std::optional<GrpcHealth::Verdict> GrpcHealth::frame(uint8_t type, uint8_t flags, uint32_t stream,
                                                     std::string_view payload) {
  if (type == kSettings && (flags & kAck) == 0) add_frame(&output_, kSettings, kAck, 0, "");
  if (type == kPing && (flags & kAck) == 0 && payload.size() == 8)
    add_frame(&output_, kPing, kAck, 0, payload);
  if (type == kGoAway || (type == kReset && stream == 1)) {
    const uint32_t code = payload.size() < 4 ? 0 : number(payload.substr(type == kGoAway ? 4 : 0, 4));
    return Verdict{false, strf("health rpc failed: refused with HTTP/2 error %u", code)};
  }
  if (stream != 1) return std::nullopt;
  if (type == kData) return data(flags, payload);
  if (type == kHeaders && (flags & kEndStream) != 0) {
    return Verdict{
        false, "health rpc failed: no health status in the answer; is grpc.health.v1.Health served there?"};
  }
  return std::nullopt;
}

std::optional<GrpcHealth::Verdict> GrpcHealth::data(uint8_t flags, std::string_view payload) {
  if ((flags & kPadded) != 0) {
    const size_t padding = payload.empty() ? 0 : static_cast<uint8_t>(payload.front());
    if (padding + 1 > payload.size()) return Verdict{false, "health rpc failed: the answer is malformed"};
    payload = payload.substr(1, payload.size() - 1 - padding);
  }
  message_.append(payload);
  if (message_.size() >= kMessageHeader) {
    const size_t size = number(std::string_view(message_).substr(1, 4));
    if (message_[0] != 0) return Verdict{false, "health rpc failed: the answer is compressed"};
    if (message_.size() - kMessageHeader >= size)
      return verdict_of(std::string_view(message_).substr(kMessageHeader, size));
  }
  if ((flags & kEndStream) != 0) return closed();
  return std::nullopt;
}

}  // namespace limpet::node

// WebSocket framing (RFC 6455 section 5) as values: a pull-style reader and a writer. No I/O, no callbacks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace limpet::http {

enum class Opcode : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

constexpr size_t max_websocket_message = 1024 * 1024;

// Reads the frames of one side and puts messages together. Rules checked: reserved bits and opcodes, masking
// as the role demands, shortest length form, control frames whole and small, fragments in order, message
// size, UTF-8 of text and of close reasons, close codes.
class FrameReader {
 public:
  enum class Step {
    need_more,  // the input is used up
    message,    // payload(), binary()
    ping,       // payload()
    pong,       // payload()
    close,      // close_code() (1005: none given) and payload() as the reason
    error,      // close_code() to answer with, payload() says why; for ever
  };
  // The server reads masked frames, the client unmasked ones; anything else is an error.
  explicit FrameReader(bool masked, size_t limit = max_websocket_message) : masked_(masked), limit_(limit) {}

  // Consumes from the front of the input. payload() is valid until the next call.
  Step next(std::string_view& input);
  std::string_view payload() const { return out_; }
  bool binary() const { return binary_; }
  int close_code() const { return code_; }

 private:
  Step fail(int code, const char* why);
  bool read_header(std::string_view& input);
  Step check_header();
  Step frame_done();
  Step read_close();

  bool masked_;
  size_t limit_;
  unsigned char header_[14];
  size_t header_have_ = 0;
  bool in_payload_ = false;
  bool fin_ = false;
  Opcode opcode_ = Opcode::binary;
  uint64_t left_ = 0;   // of the frame's payload
  size_t mask_at_ = 0;  // position in the mask
  unsigned char mask_[4] = {};
  bool fragmented_ = false;  // a message has begun and not ended
  bool binary_ = false;
  std::string message_;  // of the fragments so far
  std::string control_;
  std::string_view out_;
  bool delivered_ = false;  // out_ is message_: to be cleared at the next call
  bool failed_ = false;
  int code_ = 0;
};

// Appends one whole frame. `mask` (4 bytes) on the client's side, null on the server's.
void append_frame(std::string* out, Opcode opcode, std::string_view payload, const unsigned char* mask);
std::string close_payload(int code, std::string_view reason);
// Whether an endpoint may send this code (section 7.4).
bool valid_close_code(int code);

}  // namespace limpet::http

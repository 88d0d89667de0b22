// SPDY/3.1 framing as values: a pull-style reader and writers of whole frames. No I/O, no callbacks.
//
// https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ section 2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace limpet::http {

enum class SpdyType : uint16_t {
  syn_stream = 1,
  syn_reply = 2,
  rst_stream = 3,
  settings = 4,
  ping = 6,
  goaway = 7,
  headers = 8,
  window_update = 9
};

// Why a stream was reset, and why a connection goes away: the two lists of the protocol.
enum class SpdyReset : uint32_t { protocol_error = 1, refused = 3, cancel = 5 };
enum class SpdyGoaway : uint32_t { ok = 0, protocol_error = 1 };

constexpr uint8_t spdy_fin = 1;  // flag of SYN_STREAM, SYN_REPLY, HEADERS and DATA
constexpr size_t max_spdy_control_frame = 16 * 1024;
constexpr size_t spdy_data_piece = 64 * 1024;  // the most that we put into one DATA frame

// Reads frames of either side. Control frames come whole and bounded; DATA comes in pieces as it arrives, so
// that a frame of 16 MB costs no memory. Control frames of unknown types are passed over, as the protocol
// asks.
class SpdyReader {
 public:
  enum class Step {
    need_more,  // the input is used up
    control,    // type(), flags(), payload()
    data,       // stream(), payload(), fin(); also once for an empty frame
    error,      // payload() says why; for ever
  };
  // Consumes from the front of the input. payload() is valid until the next call and as long as the input is.
  Step next(std::string_view& input);
  SpdyType type() const { return type_; }
  uint8_t flags() const { return flags_; }
  uint32_t stream() const { return stream_; }
  bool fin() const { return (flags_ & spdy_fin) != 0 && left_ == 0; }
  std::string_view payload() const { return out_; }

 private:
  enum class State { header, control, unknown, data, failed };
  Step fail(const char* why);
  bool read_header(std::string_view& input);
  Step begin_frame();

  State state_ = State::header;
  unsigned char header_[8];
  size_t header_have_ = 0;
  size_t left_ = 0;  // of the frame
  SpdyType type_ = SpdyType::ping;
  uint8_t flags_ = 0;
  uint32_t stream_ = 0;
  std::string control_;
  std::string_view out_;
};

// A number of the wire: 4 bytes, most significant first. There must be as many.
uint32_t spdy_number(std::string_view bytes, size_t at);

void append_spdy_control(std::string* out, SpdyType type, uint8_t flags, std::string_view payload);
void append_spdy_data(std::string* out, uint32_t stream, std::string_view bytes, bool fin);  // at most 16 MB
std::string spdy_numbers(uint32_t a);
std::string spdy_numbers(uint32_t a, uint32_t b);

}  // namespace limpet::http

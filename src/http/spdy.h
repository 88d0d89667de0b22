// The server's side of one SPDY/3.1 connection as a state machine: bytes in, events out; commands in, bytes
// out.
//
// It serves what Kubernetes clients make of SPDY: the client opens streams (odd ids), the server answers
// each, both send data until they end their half. The carrier is the caller's: a connection after "Upgrade:
// SPDY/3.1", or the messages of a WebSocket with the subprotocol SPDY/3.1+portforward.k8s.io. No I/O, no
// callbacks, no clock.
//
// Flow control: none of the protocol's. The clients (moby/spdystream) neither send WINDOW_UPDATE nor heed it,
// so that a window kept would stop for good after 64 KiB; what bounds buffers is that the caller stops
// reading from or writing to the carrier. SETTINGS, WINDOW_UPDATE and HEADERS are checked and passed over.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "http/message.h"
#include "http/spdy_frames.h"
#include "http/spdy_headers.h"

namespace limpet::http {

class SpdySession {
 public:
  enum class Step {
    need_more,  // the input is used up
    opened,     // stream(), headers(): answer with reply() or reset()
    refused,    // stream(): more streams than the limit; answer with reset(refused)
    data,       // stream(), payload()
    ended,      // stream(): the client sends no more on it
    reset,      // stream(): gone, for both directions
    ping,       // ping_id(): answer with pong()
    goaway,     // the client opens no more streams
    error,      // payload() says why, goaway(protocol_error) tells the client; for ever
  };
  explicit SpdySession(size_t max_streams) : max_streams_(max_streams) {}

  // Consumes from the front of the input. What is returned by view or reference is valid until the next call.
  Step next(std::string_view& input);
  uint32_t stream() const { return stream_; }
  const Headers& headers() const { return headers_; }
  std::string_view payload() const { return out_; }
  uint32_t ping_id() const { return ping_id_; }

  // Each appends to the bytes to send; what concerns a stream that is over or unknown appends nothing.
  void reply(uint32_t stream, std::string* out);
  void data(uint32_t stream, std::string_view bytes, std::string* out);
  void finish(uint32_t stream, std::string* out);  // no more data of ours
  void reset(uint32_t stream, SpdyReset why, std::string* out);
  void pong(uint32_t id, std::string* out);
  void goaway(SpdyGoaway why, std::string* out);
  size_t open_streams() const { return streams_.size(); }

 private:
  struct Half {
    bool client_done = false, server_done = false;
  };
  Step fail(std::string_view why);
  Step take_data();
  Step take_control();
  Step take_syn_stream(std::string_view payload);
  Step take_headers(std::string_view payload);
  Step take_reset(std::string_view payload);
  Step take_ping(std::string_view payload);
  Step end_of(uint32_t stream);

  size_t max_streams_;
  SpdyReader reader_;
  SpdyHeaderReader header_reader_;
  SpdyHeaderWriter header_writer_;
  std::map<uint32_t, Half> streams_;
  uint32_t last_stream_ = 0;  // the client's ids rise
  uint32_t stream_ = 0, ping_id_ = 0;
  bool end_next_ = false;  // the frame just told of ends its stream: that is told next
  bool failed_ = false;
  Headers headers_;
  std::string why_;
  std::string_view out_;
};

}  // namespace limpet::http

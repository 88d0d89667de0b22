// Incremental HTTP/1.1 parser for requests and responses (RFC 9110, 9112).
//
// Pull-style: next() consumes from the front of the input and says what it found; the caller acts and calls
// again. Nothing is called back, so pausing is not calling, and the bytes after a message stay in the input.
//
// The lines of the header section are checked by ours first (parser_lines.h), strictly, then llhttp or
// http-parser reads the section as one piece. Body framing is walked here, byte for byte the same on both
// libraries. The verdict on a message never depends on how it was cut into pieces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace limpet::http {

struct ParserLimits {
  size_t target_bytes = 16 * 1024;          // 414 above
  size_t header_section_bytes = 64 * 1024;  // 431 above, start line included
  size_t header_count = 512;                // 431 above
  size_t chunk_line_bytes = 256;            // extensions included
};

// A start line and its headers.
struct MessageHead {
  std::string method;  // requests
  std::string target;
  int status = 0;  // responses
  int minor_version = 1;
  Headers headers;
  bool keep_alive = true;  // the connection may be used again after this message
  bool chunked = false;
  int64_t content_length = -1;  // -1: not given
};

class Parser {
 public:
  enum class Kind { request, response };
  enum class Step {
    need_more,  // the input is used up
    head,       // head() is complete
    body,       // body() holds some bytes, valid until the input changes
    complete,   // the message ended; the next call begins another
    error,      // error_status() and error_text(); every further call says the same
  };

  explicit Parser(Kind kind, ParserLimits limits = {}) : kind_(kind), limits_(limits) {}

  Step next(std::string_view& input);
  // The connection ended. complete if that ends the message (a response without length), need_more between
  // messages, otherwise error.
  Step end_of_input();

  MessageHead& head() { return head_; }
  std::string_view body() const { return body_; }
  // After a response's head: there is no body whatever the headers say (HEAD, 2xx to CONNECT).
  void no_body();
  int error_status() const { return error_status_; }  // what a server answers: 400, 414, 431, 501 or 505
  const std::string& error_text() const { return error_text_; }
  bool idle() const {
    return state_ == State::head && pending_.empty() && head_bytes_ == 0;
  }  // between messages

 private:
  enum class State { head, fixed, chunk_line, chunk_data, chunk_end, trailer, until_close, done, failed };

  Step fail(int status, std::string text);
  Step read_head(std::string_view& input);
  Step take_head(std::string_view section);
  Step read_fixed(std::string_view& input);
  Step read_chunk_line(std::string_view& input);
  Step read_chunk_end(std::string_view& input);
  Step read_trailer(std::string_view& input);
  bool take_line(std::string_view& input, size_t limit, std::string_view* line, bool* too_long);
  bool bodiless() const;
  State body_state() const;

  Kind kind_;
  ParserLimits limits_;
  State state_ = State::head;
  MessageHead head_;
  std::string pending_;    // an incomplete header section or line
  size_t head_bytes_ = 0;  // of pending_: length of the lines already checked
  size_t head_lines_ = 0;  // lines checked, start line included
  size_t scanned_ = 0;     // of pending_: searched for a line feed
  size_t trailer_bytes_ = 0;
  uint64_t left_ = 0;  // of the fixed body or the chunk
  std::string_view body_;
  int error_status_ = 0;
  std::string error_text_;
};

}  // namespace limpet::http

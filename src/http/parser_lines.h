// The strict line check in front of the parsing library: http-parser accepts bare line feeds, folding and
// space before the colon, llhttp other things. What passes here means the same to both. Not for other rooms.
#pragma once

#include <cstdint>
#include <string_view>

namespace limpet::http {

struct LineVerdict {
  int status = 0;  // 0: fine
  const char* text = "";
};

// Lines come without their CRLF.
LineVerdict check_request_line(std::string_view line, size_t target_limit);
LineVerdict check_status_line(std::string_view line);
LineVerdict check_header_line(std::string_view line);

// What the framing headers of a section say. The section is a start line and header lines that passed, with
// CRLFs.
struct Framing {
  LineVerdict verdict;
  bool chunked = false;
  int64_t content_length = -1;
};
Framing check_framing(std::string_view section, bool request);

// "1a;ext=..." to 26. False when malformed or absurd.
bool parse_chunk_size(std::string_view line, uint64_t* size);

}  // namespace limpet::http

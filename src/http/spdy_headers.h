// Header blocks of SPDY/3: names and values behind their lengths, compressed by zlib with the protocol's
// dictionary. One compressor per direction lives as long as the connection, so that every block has to be
// read, in order. No I/O.
//
// https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ section 2.6.10.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace limpet::http {

constexpr size_t max_spdy_header_block =
    16 * 1024;  // after inflation; the blocks of our clients have a hundred bytes
constexpr size_t max_spdy_headers = 64;

const std::string& spdy_dictionary();  // 1423 bytes

class SpdyHeaderReader {
 public:
  SpdyHeaderReader() = default;
  ~SpdyHeaderReader();
  SpdyHeaderReader(const SpdyHeaderReader&) = delete;

  // One compressed block. Names are checked (lower case, none twice); a value of several parts becomes
  // several headers. After an error the context is lost: no further block can be read.
  Result<Headers> read(std::string_view block);

 private:
  Result<std::string> inflate_block(std::string_view block);

  z_stream stream_{};
  bool begun_ = false;
};

class SpdyHeaderWriter {
 public:
  SpdyHeaderWriter() = default;
  ~SpdyHeaderWriter();
  SpdyHeaderWriter(const SpdyHeaderWriter&) = delete;

  std::string write(const Headers& headers);

 private:
  z_stream stream_{};
  bool begun_ = false;
};

}  // namespace limpet::http

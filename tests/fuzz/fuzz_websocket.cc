// WebSocket frames of either role: no crash, bounded messages, the same trace whole and byte by byte.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/websocket_frames.h"

using limpet::http::FrameReader;

namespace {

constexpr size_t limit = 4096;

std::string run(bool masked, std::string_view bytes, size_t piece) {
  FrameReader reader(masked, limit);
  std::string out;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    for (bool more = true; more;) {
      const auto step = reader.next(part);
      more = step != FrameReader::Step::need_more;
      if (!more) break;
      if (reader.payload().size() > limit) abort();
      out += std::to_string(static_cast<int>(step)) + ":" + std::to_string(reader.close_code()) + ":";
      out += reader.payload();
      if (step == FrameReader::Step::error) return out;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const bool masked = (data[0] & 1) != 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (run(masked, bytes, bytes.size() + 1) != run(masked, bytes, 1)) abort();
  return 0;
}

// Container log lines, users against passwd and group files, and image configurations: bytes that an image or
// a container wrote.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "node/runtime/bundle.h"
#include "node/runtime/cri_log.h"
#include "node/runtime/image_config.h"
#include "node/runtime/user.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (std::optional<limpet::node::LogLine> line = limpet::node::parse_log_line(bytes)) {
    // Views lie inside what was given.
    if (line->text.data() < bytes.data() || line->text.data() + line->text.size() > bytes.data() + size)
      abort();
  }
  size_t half = bytes.find('\n');
  if (half != std::string_view::npos) {
    static_cast<void>(
        limpet::node::resolve_user(bytes.substr(0, half), bytes.substr(half), bytes.substr(half)));
  }
  static_cast<void>(limpet::node::parse_image_config(bytes));
  static_cast<void>(limpet::node::parse_status(bytes));
  return 0;
}

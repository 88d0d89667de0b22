#include "http/utf8.h"

#include <cstdint>
#include <cstring>

namespace limpet::http {

bool valid_utf8(std::string_view text) {
  size_t i = 0;
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  while (i < text.size()) {
    if (i + 8 <= text.size()) {
      uint64_t word;
      memcpy(&word, text.data() + i, 8);
      if ((word & 0x8080808080808080u) == 0) {
        i += 8;
        continue;
      }
    }
    const unsigned char first = byte(i);
    size_t size = 1;
    if (first >= 0x80) {
      if (first < 0xc2 || first > 0xf4) return false;
      size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
      if (i + size > text.size()) return false;
      const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
      const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
      if (byte(i + 1) < low || byte(i + 1) > high) return false;
      for (size_t k = 2; k < size; ++k) {
        if ((byte(i + k) & 0xc0) != 0x80) return false;
      }
    }
    i += size;
  }
  return true;
}

}  // namespace limpet::http

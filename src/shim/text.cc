#include "shim/text.h"

namespace limpet::shim {

TextRef& TextRef::add_number(int64_t value) {
  char digits[24];
  size_t n = sizeof digits;
  uint64_t rest = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  do {
    digits[--n] = static_cast<char>('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (value < 0) digits[--n] = '-';
  return add(digits + n, sizeof digits - n);
}

TextRef& TextRef::add_padded(uint32_t value, int digits) {
  char text[10];
  for (int i = digits - 1; i >= 0; --i) {
    text[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  return add(text, static_cast<size_t>(digits));
}

namespace {

// Length of the UTF-8 sequence at s, 0 when there is none (RFC 3629).
size_t utf8_length(const unsigned char* s, size_t n) {
  if (s[0] < 0x80) return 1;
  size_t length = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                  : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                  : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                 : 0;
  if (length == 0 || length > n) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((s[i] & 0xc0) != 0x80) return 0;
  }
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
      (s[0] == 0xf4 && s[1] > 0x8f)) {
    return 0;
  }
  return length;
}

}  // namespace

TextRef& TextRef::add_json(const char* s, size_t n) {
  add_char('"');
  for (size_t i = 0; i < n;) {
    unsigned char c = static_cast<unsigned char>(s[i]);
    size_t length = utf8_length(reinterpret_cast<const unsigned char*>(s) + i, n - i);
    if (c == '"' || c == '\\') {
      add_char('\\').add_char(s[i]);
    } else if (c == '\n') {
      add("\\n");
    } else if (c == '\t') {
      add("\\t");
    } else if (c < 0x20 || c == 0x7f || length == 0) {
      add_char('?');
    } else {
      add(s + i, length);
    }
    i += length == 0 ? 1 : length;
  }
  return add_char('"');
}

TextRef& TextRef::add_time(int64_t seconds, uint32_t nanos) {
  // Days to civil date, after Howard Hinnant's "chrono-compatible low-level date algorithms".
  int64_t days = seconds / 86400;
  int64_t rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  int64_t z = days + 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  uint32_t doe = static_cast<uint32_t>(z - era * 146097);
  uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  uint32_t mp = (5 * doy + 2) / 153;
  uint32_t day = doy - (153 * mp + 2) / 5 + 1;
  uint32_t month = mp < 10 ? mp + 3 : mp - 9;
  uint32_t year = static_cast<uint32_t>(yoe + era * 400) + (month <= 2 ? 1 : 0);
  uint32_t r = static_cast<uint32_t>(rest);
  add_padded(year, 4).add_char('-').add_padded(month, 2).add_char('-').add_padded(day, 2).add_char('T');
  add_padded(r / 3600, 2).add_char(':').add_padded(r / 60 % 60, 2).add_char(':').add_padded(r % 60, 2);
  return add_char('.').add_padded(nanos, 9).add_char('Z');
}

}  // namespace limpet::shim

#include "base/json_scan.h"

#include <charconv>
#include <cstring>

#include "base/json.h"

namespace limpet::json::scan {

namespace {

std::unexpected<Error> bad(const char* what, size_t pos) {
  return fail(Errc::invalid_argument, strf("%s at byte %zu", what, pos));
}

int hex4(std::string_view t, size_t pos) {
  if (pos + 4 > t.size()) return -1;
  int v = 0;
  for (size_t i = pos; i < pos + 4; i++) {
    const char c = t[i];
    const int d = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
    if (d < 0) return -1;
    v = v * 16 + d;
  }
  return v;
}

void append_utf8(std::string* out, uint32_t cp) {
  if (!out) return;
  if (cp < 0x80) {
    *out += static_cast<char>(cp);
  } else if (cp < 0x800) {
    *out += static_cast<char>(0xc0 | cp >> 6);
    *out += static_cast<char>(0x80 | (cp & 63));
  } else if (cp < 0x10000) {
    *out += static_cast<char>(0xe0 | cp >> 12);
    *out += static_cast<char>(0x80 | (cp >> 6 & 63));
    *out += static_cast<char>(0x80 | (cp & 63));
  } else {
    *out += static_cast<char>(0xf0 | cp >> 18);
    *out += static_cast<char>(0x80 | (cp >> 12 & 63));
    *out += static_cast<char>(0x80 | (cp >> 6 & 63));
    *out += static_cast<char>(0x80 | (cp & 63));
  }
}

// *pos at the 'u' of \uXXXX.
Result<> unicode_escape(std::string_view t, size_t* pos, std::string* out) {
  const size_t start = *pos - 1;
  int hi = hex4(t, *pos + 1);
  if (hi < 0) return bad("bad \\u escape", start);
  *pos += 5;
  if (hi == 0) return bad("NUL character (\\u0000) in a string", start);
  if (hi >= 0xdc00 && hi <= 0xdfff) return bad("unpaired surrogate", start);
  if (hi < 0xd800 || hi > 0xdbff) {
    append_utf8(out, static_cast<uint32_t>(hi));
    return {};
  }
  const int lo = t.substr(*pos, 2) == "\\u" ? hex4(t, *pos + 2) : -1;
  if (lo < 0xdc00 || lo > 0xdfff) return bad("unpaired surrogate", start);
  *pos += 6;
  append_utf8(out,
              0x10000 + ((static_cast<uint32_t>(hi) - 0xd800) << 10) + (static_cast<uint32_t>(lo) - 0xdc00));
  return {};
}

Result<> escape(std::string_view t, size_t* pos, std::string* out) {
  const size_t start = *pos;
  (*pos)++;
  if (*pos >= t.size()) return bad("string does not end", start);
  if (t[*pos] == 'u') return unicode_escape(t, pos, out);
  static constexpr char kFrom[] = "\"\\/bfnrt";
  static constexpr char kTo[] = "\"\\/\b\f\n\r\t";
  const char* at = t[*pos] ? strchr(kFrom, t[*pos]) : nullptr;
  if (!at) return bad("bad escape", start);
  if (out) *out += kTo[at - kFrom];
  (*pos)++;
  return {};
}

// Length of the valid UTF-8 sequence at pos (lead byte >= 0x80), 0 when it is none (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
size_t utf8_length(std::string_view t, size_t pos) {
  const auto b = [&](size_t i) -> unsigned {
    return pos + i < t.size() ? static_cast<unsigned char>(t[pos + i]) : 0;
  };
  const auto tail = [&](size_t i) { return (b(i) & 0xc0) == 0x80; };
  const unsigned c = b(0);
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (c == 0xe0 && b(1) < 0xa0) return 0;
    if (c == 0xed && b(1) > 0x9f) return 0;
    return 3;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (c == 0xf0 && b(1) < 0x90) return 0;
    if (c == 0xf4 && b(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

Result<> string(std::string_view t, size_t* pos, std::string* out) {
  const size_t start = *pos;
  if (*pos >= t.size() || t[*pos] != '"') return bad("expected a string", *pos);
  (*pos)++;
  while (*pos < t.size()) {
    const auto c = static_cast<unsigned char>(t[*pos]);
    if (c == '"') {
      (*pos)++;
      return {};
    }
    if (c == '\\') {
      CHECK_OK(escape(t, pos, out));
    } else if (c < 0x20) {
      return bad("control character in a string", *pos);
    } else {
      const size_t n = c < 0x80 ? 1 : utf8_length(t, *pos);
      if (n == 0) return bad("invalid UTF-8", *pos);
      if (out) out->append(t, *pos, n);
      *pos += n;
    }
  }
  return bad("string does not end", start);
}

Result<> number(std::string_view t, size_t* pos) {
  const size_t start = *pos;
  const auto digit = [&] { return *pos < t.size() && t[*pos] >= '0' && t[*pos] <= '9'; };
  const auto digits = [&] {
    const size_t from = *pos;
    while (digit()) (*pos)++;
    return *pos > from;
  };
  if (*pos < t.size() && t[*pos] == '-') (*pos)++;
  if (*pos < t.size() && t[*pos] == '0') {
    (*pos)++;
    if (digit()) return bad("number with a leading zero", start);
  } else if (!digits()) {
    return bad("bad number", start);
  }
  if (*pos < t.size() && t[*pos] == '.') {
    (*pos)++;
    if (!digits()) return bad("bad number", start);
  }
  if (*pos < t.size() && (t[*pos] == 'e' || t[*pos] == 'E')) {
    (*pos)++;
    if (*pos < t.size() && (t[*pos] == '+' || t[*pos] == '-')) (*pos)++;
    if (!digits()) return bad("bad number", start);
  }
  if (*pos - start > 1000) return bad("number of more than 1000 characters", start);
  double d = 0;
  const auto r = std::from_chars(t.data() + start, t.data() + *pos, d);
  if (r.ec == std::errc::result_out_of_range) {
    // Too large or too small for a double; from_chars does not say which, the exponent's sign does.
    const std::string_view lit = t.substr(start, *pos - start);
    const size_t e = lit.find_first_of("eE");
    if (e == std::string_view::npos || lit[e + 1] != '-') return bad("number out of range", start);
  }
  return {};
}

Result<> word(std::string_view t, size_t* pos) {
  for (std::string_view w : {std::string_view("true"), std::string_view("false"), std::string_view("null")}) {
    if (t.substr(*pos, w.size()) == w) {
      *pos += w.size();
      return {};
    }
  }
  if (*pos >= t.size()) return bad("unexpected end", *pos);
  return bad("unexpected character", *pos);
}

bool parse_int64(std::string_view text, int64_t* out) {
  const auto r = std::from_chars(text.data(), text.data() + text.size(), *out);
  return r.ec == std::errc() && r.ptr == text.data() + text.size();
}

bool exact_as_double(std::string_view text, double* out) {
  *out = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), *out);
  if (r.ec != std::errc()) return false;
  int64_t i = 0;
  if (parse_int64(text, &i)) return i >= -(1ll << 53) && i <= (1ll << 53) && text != "-0";
  if (text.find_first_of(".eE") == std::string_view::npos) return false;  // an integer beyond int64
  char buf[64];
  const auto w = std::to_chars(buf, buf + sizeof buf, *out);
  // Fractions: shortest form reads back to the same double; only literals with more digits than that lose
  // something.
  size_t literal_digits = 0, shortest_digits = 0;
  for (char c : text.substr(0, text.find_first_of("eE"))) literal_digits += c >= '0' && c <= '9';
  for (char* p = buf; p < w.ptr && *p != 'e'; p++) shortest_digits += *p >= '0' && *p <= '9';
  return literal_digits <= 15 || literal_digits <= shortest_digits;
}

namespace {

// Behind the string that opens at pos; no checks beyond finding its end.
size_t skip_string(std::string_view t, size_t pos) {
  for (pos++; pos < t.size(); pos++) {
    if (t[pos] == '\\') {
      pos++;
    } else if (t[pos] == '"') {
      return pos + 1;
    }
  }
  return std::string_view::npos;
}

}  // namespace

size_t skip_value(std::string_view t, size_t pos) {
  int depth = 0;
  while (pos < t.size()) {
    const char c = t[pos];
    if (c == '"') {
      pos = skip_string(t, pos);
      if (pos == std::string_view::npos) return pos;
      if (depth == 0) return pos;
      continue;
    }
    if (c == '{' || c == '[') {
      depth++;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return pos;  // end of a bare word before the container's end
      if (--depth == 0) return pos + 1;
    } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r')) {
      return pos;
    }
    pos++;
  }
  return depth == 0 ? pos : std::string_view::npos;
}

}  // namespace limpet::json::scan

#include <charconv>
#include <cmath>

#include "base/json.h"
#include "base/json_scan.h"

namespace limpet::json {

namespace {

// Length of the well-formed UTF-8 sequence at pos, 0 when there is none.
size_t sequence(std::string_view s, size_t pos) {
  const auto c = static_cast<unsigned char>(s[pos]);
  const size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
  if (pos + n > s.size()) return 0;
  // The scanner holds the one definition of valid UTF-8: let it judge the sequence inside quotes.
  if (n == 1) return 1;
  std::string probe = "\"";
  probe.append(s, pos, n);
  probe += '"';
  size_t p = 0;
  return scan::string(probe, &p, nullptr) && p == probe.size() ? n : 0;
}

}  // namespace

void append_quoted(std::string& out, std::string_view s) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out += '"';
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c >= 0x20 && c < 0x80) {
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c < 0x20) {
      out += "\\u00";
      out += kDigits[c >> 4];
      out += kDigits[c & 15];
    } else if (const size_t n = sequence(s, i); n > 0) {
      out.append(s, i, n);
      i += n;
      continue;
    } else {
      out += "\xef\xbf\xbd";
    }
    i++;
  }
  out += '"';
}

std::string quoted(std::string_view s) {
  std::string out;
  append_quoted(out, s);
  return out;
}

void Writer::comma() {
  if (need_comma_) out_ += ',';
  need_comma_ = true;
}
Writer& Writer::begin_object() {
  comma();
  out_ += '{';
  need_comma_ = false;
  return *this;
}
Writer& Writer::end_object() {
  out_ += '}';
  need_comma_ = true;
  return *this;
}
Writer& Writer::begin_array() {
  comma();
  out_ += '[';
  need_comma_ = false;
  return *this;
}
Writer& Writer::end_array() {
  out_ += ']';
  need_comma_ = true;
  return *this;
}
Writer& Writer::key(std::string_view k) {
  comma();
  append_quoted(out_, k);
  out_ += ':';
  need_comma_ = false;
  return *this;
}
Writer& Writer::string(std::string_view s) {
  comma();
  append_quoted(out_, s);
  return *this;
}
Writer& Writer::number(int64_t n) {
  comma();
  char buf[24];
  out_.append(buf, std::to_chars(buf, buf + sizeof buf, n).ptr);
  return *this;
}
Writer& Writer::real(double d) {
  comma();
  char buf[64];
  if (!std::isfinite(d)) {
    out_ += "null";
  } else {
    out_.append(buf, std::to_chars(buf, buf + sizeof buf, d).ptr);
  }
  return *this;
}
Writer& Writer::boolean(bool b) {
  comma();
  out_ += b ? "true" : "false";
  return *this;
}
Writer& Writer::null() {
  comma();
  out_ += "null";
  return *this;
}
Writer& Writer::raw(std::string_view json) {
  comma();
  out_ += json;
  return *this;
}

}  // namespace limpet::json

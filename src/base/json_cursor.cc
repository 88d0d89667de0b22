#include <cmath>
#include <cstdlib>

#include "base/json.h"
#include "base/json_scan.h"

namespace limpet::json {

namespace {

// Walks the members of a container; f(key, value) with the raw key (in quotes, escaped) or an empty one in
// arrays.
template <class F>
void members(std::string_view t, F f) {
  if (t.size() < 2 || (t[0] != '{' && t[0] != '[')) return;
  const bool object = t[0] == '{';
  size_t pos = 1;
  for (;;) {
    scan::skip_space(t, &pos);
    if (pos >= t.size() || t[pos] == '}' || t[pos] == ']') return;
    if (t[pos] == ',') {
      pos++;
      continue;
    }
    std::string_view key;
    if (object) {
      const size_t key_end = t[pos] == '"' ? scan::skip_value(t, pos) : std::string_view::npos;
      if (key_end == std::string_view::npos) return;
      key = t.substr(pos, key_end - pos);
      pos = key_end;
      scan::skip_space(t, &pos);
      if (pos >= t.size() || t[pos] != ':') return;
      pos++;
      scan::skip_space(t, &pos);
    }
    const size_t end = scan::skip_value(t, pos);
    if (end == std::string_view::npos || end <= pos) return;
    if (!f(key, t.substr(pos, end - pos))) return;
    pos = end;
  }
}

std::string unescape(std::string_view quoted_text) {
  std::string out;
  size_t pos = 0;
  if (!scan::string(quoted_text, &pos, &out)) out.clear();
  return out;
}

bool quoted_equals(std::string_view quoted_text, std::string_view s) {
  if (quoted_text.size() < 2 || quoted_text[0] != '"') return false;
  const std::string_view inner = quoted_text.substr(1, quoted_text.size() - 2);
  if (inner.find('\\') == std::string_view::npos) return inner == s;
  return unescape(quoted_text) == s;
}

Cursor make(std::string_view t) { return Cursor(t); }

}  // namespace

Cursor::Cursor(std::string_view text) {
  size_t pos = 0;
  scan::skip_space(text, &pos);
  if (pos >= text.size()) return;
  const size_t end = scan::skip_value(text, pos);
  if (end == std::string_view::npos || end == pos) return;
  text_ = text.substr(pos, end - pos);
}

Type Cursor::type() const {
  if (text_.empty()) return Type::missing;
  switch (text_[0]) {
    case '{':
      return Type::object;
    case '[':
      return Type::array;
    case '"':
      return Type::string;
    case 't':
    case 'f':
      return Type::boolean;
    case 'n':
      return Type::null;
    default:
      return Type::number;
  }
}

Cursor Cursor::operator[](std::string_view key) const {
  Cursor found;
  if (type() != Type::object) return found;
  members(text_, [&](std::string_view k, std::string_view v) {
    if (!quoted_equals(k, key)) return true;
    found.text_ = v;
    return false;
  });
  return found;
}

Cursor Cursor::at(size_t index) const {
  Cursor found;
  if (type() != Type::array) return found;
  members(text_, [&](std::string_view, std::string_view v) {
    if (index-- > 0) return true;
    found.text_ = v;
    return false;
  });
  return found;
}

std::string Cursor::str(std::string_view otherwise) const {
  return type() == Type::string ? unescape(text_) : std::string(otherwise);
}
bool Cursor::str_equals(std::string_view s) const {
  return type() == Type::string && quoted_equals(text_, s);
}
bool Cursor::boolean(bool otherwise) const { return type() == Type::boolean ? text_[0] == 't' : otherwise; }

int64_t Cursor::integer(int64_t otherwise) const {
  int64_t v = 0;
  if (type() != Type::number) return otherwise;
  if (scan::parse_int64(text_, &v)) return v;
  double d = 0;
  if (!scan::exact_as_double(text_, &d) || std::fabs(d) > 9007199254740992.0 || d != std::floor(d))
    return otherwise;
  return static_cast<int64_t>(d);
}

double Cursor::real(double otherwise) const {
  return type() == Type::number ? strtod(std::string(text_).c_str(), nullptr) : otherwise;
}

size_t Cursor::size() const {
  size_t n = 0;
  members(text_, [&](std::string_view, std::string_view) {
    n++;
    return true;
  });
  return n;
}

void Cursor::each(const std::function<bool(std::string_view, Cursor)>& f) const {
  members(text_, [&](std::string_view k, std::string_view v) {
    if (k.empty()) return f(k, make(v));
    const std::string_view inner = k.substr(1, k.size() - 2);
    if (inner.find('\\') == std::string_view::npos) return f(inner, make(v));
    return f(unescape(k), make(v));
  });
}

}  // namespace limpet::json

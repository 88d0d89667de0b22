#include "daemon/formats.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace limpet::daemon {
namespace {

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_address(std::string_view value) {
  unsigned char bytes[16];
  const std::string text(value);
  if (text.size() != strlen(text.c_str())) return false;
  return inet_pton(AF_INET, text.c_str(), bytes) == 1 || inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

bool is_dns_name(std::string_view value) {
  if (value.empty() || value.size() > 253) return false;
  while (true) {
    const size_t dot = value.find('.');
    const std::string_view label = value.substr(0, dot);
    if (label.empty() || label.size() > 63) return false;
    if (!is_lower_alnum(label.front()) || !is_lower_alnum(label.back())) return false;
    if (!std::all_of(label.begin(), label.end(), [](char c) { return is_lower_alnum(c) || c == '-'; }))
      return false;
    if (dot == std::string_view::npos) return true;
    value.remove_prefix(dot + 1);
  }
}

// The name part of a label key, and a label value that is not empty.
bool is_qualified(std::string_view value) {
  if (value.empty() || value.size() > 63 || !is_alnum(value.front()) || !is_alnum(value.back())) return false;
  return std::all_of(value.begin(), value.end(),
                     [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_label_key(std::string_view value) {
  const size_t slash = value.find('/');
  if (slash == std::string_view::npos) return is_qualified(value);
  return is_dns_name(value.substr(0, slash)) && is_qualified(value.substr(slash + 1));
}

bool is_label_value(std::string_view value) { return value.empty() || is_qualified(value); }

bool is_taint(std::string_view value) {
  const size_t colon = value.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view effect = value.substr(colon + 1);
  if (effect != "NoSchedule" && effect != "PreferNoSchedule" && effect != "NoExecute") return false;
  const std::string_view pair = value.substr(0, colon);
  const size_t equal = pair.find('=');
  if (equal == std::string_view::npos) return is_label_key(pair);
  return is_label_key(pair.substr(0, equal)) && is_label_value(pair.substr(equal + 1));
}

bool has_dot_dot(std::string_view path) {
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part == "..") return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
  return false;
}

bool is_host_port(std::string_view value) {
  std::string_view host = value, port;
  if (value.starts_with('[')) {
    const size_t end = value.find(']');
    if (end == std::string_view::npos || !is_address(value.substr(1, end - 1))) return false;
    if (end + 1 == value.size()) return true;
    if (value[end + 1] != ':') return false;
    port = value.substr(end + 2);
  } else {
    const size_t colon = value.find(':');
    host = value.substr(0, colon);
    std::string lower(host);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
    if (!is_dns_name(lower)) return false;
    if (colon == std::string_view::npos) return true;
    port = value.substr(colon + 1);
  }
  return !port.empty() && port.size() <= 5 && std::all_of(port.begin(), port.end(), is_digit) &&
         std::stoi(std::string(port)) >= 1 && std::stoi(std::string(port)) <= 65535;
}

bool is_url(std::string_view value) {
  if (value.starts_with("http://")) {
    value.remove_prefix(7);
  } else if (value.starts_with("https://")) {
    value.remove_prefix(8);
  } else {
    return false;
  }
  std::string_view authority = value.substr(0, value.find('/'));
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  return is_host_port(authority);
}

bool is_link_name(std::string_view value) {
  return !value.empty() && value.size() <= 15 && value != "." && value != ".." &&
         std::all_of(value.begin(), value.end(),
                     [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

// Every part names a group: "." or nothing would be the root, or another group than the one that is shown.
bool is_cgroup_path(std::string_view value) {
  if (value.starts_with('/')) value.remove_prefix(1);
  for (;;) {
    const size_t end = std::min(value.find('/'), value.size());
    const std::string_view part = value.substr(0, end);
    if (part.empty() || part == "." || part == "..") return false;
    if (end == value.size()) return true;
    value.remove_prefix(end + 1);
  }
}

}  // namespace

std::string check_format(Format format, std::string_view value) {
  if (std::any_of(value.begin(), value.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    return "must not hold control characters";
  }
  switch (format) {
    case Format::text:
      return "";
    case Format::path:
      return value.starts_with('/') && !has_dot_dot(value) ? "" : "must be an absolute path without \"..\"";
    case Format::cgroup:
      return is_cgroup_path(value) ? "" : "must be a path below the cgroup mount, such as limpet";
    case Format::address:
      return is_address(value) ? "" : "must be an IP address such as 192.0.2.1 or 2001:db8::1";
    case Format::cidr: {
      auto range = parse_cidr(value);
      if (!range) return range.error().message;
      return value.find('/') == std::string_view::npos ? "must be a range such as 10.42.0.0/16" : "";
    }
    case Format::dns_name:
      return is_dns_name(value)
                 ? ""
                 : "must consist of lower case letters, digits, \"-\" and \".\", and start and end with a "
                   "letter or digit";
    case Format::link_name:
      return is_link_name(value) ? "" : "must be an interface name of at most 15 characters";
    case Format::tls_name:
      return is_address(value) || is_dns_name(value.starts_with("*.") ? value.substr(2) : value)
                 ? ""
                 : "must be a DNS name or an IP address";
    case Format::url:
      return is_url(value) ? "" : "must be a URL such as http://proxy.example:3128";
    case Format::registry:
      return is_host_port(value) ? "" : "must be a host or host:port, such as registry.example:5000";
    case Format::label_key:
      return is_label_key(value)
                 ? ""
                 : "must be a label key such as zone or example.com/zone (name part at most 63 characters)";
    case Format::label_value:
      return is_label_value(value)
                 ? ""
                 : "must be at most 63 letters, digits, \"-\", \"_\" or \".\", and start and end with a "
                   "letter or digit";
    case Format::taint:
      return is_taint(value) ? ""
                             : "must be key[=value]:Effect with NoSchedule, PreferNoSchedule or NoExecute";
    case Format::group_name:
      return value.size() <= 32 &&
                     std::all_of(value.begin(), value.end(),
                                 [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; })
                 ? ""
                 : "must be the name of a group";
  }
  return "";
}

bool Cidr::contains(const Cidr& other) const {
  if (family != other.family || prefix > other.prefix) return false;
  const size_t whole = static_cast<size_t>(prefix) / 8;
  if (memcmp(bytes.data(), other.bytes.data(), whole) != 0) return false;
  const int rest = prefix % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  return (bytes[whole] & mask) == (other.bytes[whole] & mask);
}

Result<Cidr> parse_cidr(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Cidr out;
  if (inet_pton(AF_INET, address.c_str(), out.bytes.data()) == 1) {
    out.family = AF_INET;
  } else if (inet_pton(AF_INET6, address.c_str(), out.bytes.data()) == 1) {
    out.family = AF_INET6;
  } else {
    return fail(Errc::invalid_argument, "must be a range such as 10.42.0.0/16");
  }
  const int bits = out.family == AF_INET ? 32 : 128;
  out.prefix = bits;
  if (slash == std::string_view::npos) return out;
  const std::string_view length = text.substr(slash + 1);
  if (length.empty() || length.size() > 3 || !std::all_of(length.begin(), length.end(), is_digit)) {
    return fail(Errc::invalid_argument, strf("must end with a prefix length of 0 to %d", bits));
  }
  out.prefix = 0;
  for (char c : length) out.prefix = out.prefix * 10 + (c - '0');
  if (out.prefix > bits)
    return fail(Errc::invalid_argument, strf("must end with a prefix length of 0 to %d", bits));
  for (int i = out.prefix; i < bits; i++) {
    if (out.bytes[static_cast<size_t>(i) / 8] & (0x80 >> (i % 8))) {
      return fail(Errc::invalid_argument, strf("has bits set beyond its first %d", out.prefix));
    }
  }
  return out;
}

namespace {

struct Unit {
  std::string_view suffix;
  int64_t factor;
};

// Reads digits and a unit from the front of text; the longest unit wins. False: no number, no unit, or too
// large.
bool take_number(std::string_view& text, const std::vector<Unit>& units, int64_t& out) {
  size_t n = 0;
  int64_t value = 0;
  for (; n < text.size() && is_digit(text[n]); n++) {
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text[n] - '0', &value))
      return false;
  }
  if (n == 0) return false;
  text.remove_prefix(n);
  const Unit* best = nullptr;
  for (const Unit& unit : units) {
    if (text.starts_with(unit.suffix) && (!best || unit.suffix.size() > best->suffix.size())) best = &unit;
  }
  if (!best) return false;
  text.remove_prefix(best->suffix.size());
  return !__builtin_mul_overflow(value, best->factor, &out);
}

}  // namespace

Result<int64_t> parse_size(std::string_view text) {
  static const std::vector<Unit> units = {{"", 1},
                                          {"Ki", 1 << 10},
                                          {"Mi", 1 << 20},
                                          {"Gi", 1 << 30},
                                          {"Ti", 1ll << 40},
                                          {"k", 1000},
                                          {"M", 1000 * 1000},
                                          {"G", 1000 * 1000 * 1000},
                                          {"T", 1000ll * 1000 * 1000 * 1000}};
  int64_t bytes = 0;
  if (!take_number(text, units, bytes) || !text.empty()) {
    return fail(Errc::invalid_argument, "must be a size such as 10Mi or 1G");
  }
  return bytes;
}

Result<int64_t> parse_duration_ms(std::string_view text) {
  static const std::vector<Unit> units = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};
  int64_t total = 0;
  if (text == "0") return total;
  bool any = false;
  while (!text.empty()) {
    int64_t part = 0;
    if (!take_number(text, units, part) || __builtin_add_overflow(total, part, &total)) {
      any = false;
      break;
    }
    any = true;
  }
  if (!any) return fail(Errc::invalid_argument, "must be a duration such as 30s, 500ms or 1h30m");
  return total;
}

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<int>> d(a.size() + 1, std::vector<int>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); i++) d[i][0] = static_cast<int>(i);
  for (size_t j = 0; j <= b.size(); j++) d[0][j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); i++) {
    for (size_t j = 1; j <= b.size(); j++) {
      const int same = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + same});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace limpet::daemon

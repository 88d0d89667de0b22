#include "schema/names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "base/result.h"

namespace limpet::schema {

namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool lower_alnum(char c) { return lower(c) || digit(c); }
bool alnum(char c) { return lower_alnum(c) || upper(c); }

bool all_of(std::string_view s, bool (*f)(char)) { return std::all_of(s.begin(), s.end(), f); }

// [a-z0-9]([-a-z0-9]*[a-z0-9])?
bool is_label(std::string_view s) {
  return !s.empty() && lower_alnum(s.front()) && lower_alnum(s.back()) &&
         all_of(s, [](char c) { return lower_alnum(c) || c == '-'; });
}
bool is_label_caseless(std::string_view s) {
  return !s.empty() && alnum(s.front()) && alnum(s.back()) &&
         all_of(s, [](char c) { return alnum(c) || c == '-'; });
}
bool is_label_underscore(std::string_view s) {
  if (s.starts_with('_')) s.remove_prefix(1);
  return !s.empty() && lower_alnum(s.front()) && lower_alnum(s.back()) &&
         all_of(s, [](char c) { return lower_alnum(c) || c == '-' || c == '_'; });
}

bool every_label(std::string_view s, bool (*f)(std::string_view)) {
  for (;;) {
    const size_t dot = s.find('.');
    if (!f(s.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    s.remove_prefix(dot + 1);
  }
}

// (([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])
bool is_label_key_name(std::string_view s) {
  return !s.empty() && alnum(s.front()) && alnum(s.back()) &&
         all_of(s, [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string regex_error(const char* message, const char* regex, std::initializer_list<const char*> examples) {
  std::string out = message;
  out += " (e.g. ";
  bool first = true;
  for (const char* e : examples) {
    if (!first) out += " or ";
    first = false;
    out.append("'").append(e).append("', ");
  }
  out.append("regex used for validation is '").append(regex).append("')");
  return out;
}

#define LIMPET_LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define LIMPET_SUBDOMAIN_RE LIMPET_LABEL_RE "(\\." LIMPET_LABEL_RE ")*"
#define LIMPET_LABEL_UNDERSCORE_RE "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
#define LIMPET_KEY_RE "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

constexpr size_t kMaxSubdomain = 253;

void check_dot_prefix(std::string_view value, Messages& out) {
  if (value == ".") {
    out.emplace_back("must not be '.'");
  } else if (value == "..") {
    out.emplace_back("must not be '..'");
  } else if (value.starts_with("..")) {
    out.emplace_back("must not start with '..'");
  }
}

}  // namespace

std::string message_max_length(int64_t length) {
  return "must be no more than " + std::to_string(length) + " characters";
}

std::string message_range(int64_t low, int64_t high) {
  return "must be between " + std::to_string(low) + " and " + std::to_string(high) + ", inclusive";
}

Messages check_dns1123_label(std::string_view v) {
  Messages out;
  if (v.size() > 63) out.push_back(message_max_length(63));
  if (is_label(v)) return out;
  if (every_label(v, is_label)) {
    out.emplace_back("must not contain dots");
  } else {
    out.push_back(
        regex_error("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                    "and must start and "
                    "end with an alphanumeric character",
                    LIMPET_LABEL_RE, {"my-name", "123-abc"}));
  }
  return out;
}

Messages check_dns1123_subdomain(std::string_view v) {
  Messages out;
  if (v.size() > kMaxSubdomain) out.push_back(message_max_length(kMaxSubdomain));
  if (!every_label(v, is_label)) {
    out.push_back(
        regex_error("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
                    "or '.', and must "
                    "start and end with an alphanumeric character",
                    LIMPET_SUBDOMAIN_RE, {"example.com"}));
  }
  return out;
}

Messages check_dns1123_subdomain_caseless(std::string_view v) {
  Messages out;
  if (v.size() > kMaxSubdomain) out.push_back(message_max_length(kMaxSubdomain));
  if (!every_label(v, is_label_caseless)) {
    out.push_back(
        regex_error("an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must "
                    "start and end with an "
                    "alphanumeric character",
                    LIMPET_SUBDOMAIN_RE, {"Example.com"}));
  }
  return out;
}

Messages check_dns1123_subdomain_underscore(std::string_view v) {
  Messages out;
  if (v.size() > kMaxSubdomain) out.push_back(message_max_length(kMaxSubdomain));
  if (!every_label(v, is_label_underscore)) {
    out.push_back(
        regex_error("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', "
                    "'-' or '.', and "
                    "must start and end with an alphanumeric character",
                    LIMPET_LABEL_UNDERSCORE_RE "(\\." LIMPET_LABEL_UNDERSCORE_RE ")*", {"example.com"}));
  }
  return out;
}

Messages check_dns1035_label(std::string_view v) {
  Messages out;
  if (v.size() > 63) out.push_back(message_max_length(63));
  if (!is_label(v) || !lower(v.front())) {
    out.push_back(
        regex_error("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with "
                    "an alphabetic "
                    "character, and end with an alphanumeric character",
                    "[a-z]([-a-z0-9]*[a-z0-9])?", {"my-name", "abc-123"}));
  }
  return out;
}

Messages check_wildcard_dns1123_subdomain(std::string_view v) {
  Messages out;
  if (v.size() > kMaxSubdomain) out.push_back(message_max_length(kMaxSubdomain));
  if (!v.starts_with("*.") || !every_label(v.substr(2), is_label)) {
    out.push_back(regex_error(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
        "consist "
        "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        "\\*\\." LIMPET_SUBDOMAIN_RE, {"*.example.com"}));
  }
  return out;
}

Messages check_qualified_name(std::string_view v) {
  Messages out;
  const std::string rule = regex_error(
      "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
      "character",
      LIMPET_KEY_RE, {"MyName", "my.name", "123-abc"});
  std::string_view name = v;
  const size_t slash = v.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view prefix = v.substr(0, slash);
    name = v.substr(slash + 1);
    if (name.find('/') != std::string_view::npos) {
      out.push_back("a valid label key " + rule +
                    " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
      return out;
    }
    if (prefix.empty()) {
      out.emplace_back("prefix part must be non-empty");
    } else {
      if (prefix.size() > kMaxSubdomain) out.emplace_back("prefix part must be no more than 253 bytes");
      if (!every_label(prefix, is_label))
        out.push_back("prefix part " + check_dns1123_subdomain(prefix).back());
    }
  }
  if (name.empty()) {
    out.emplace_back("name part must be non-empty");
  } else if (name.size() > 63) {
    out.emplace_back("name part must be no more than 63 bytes");
  }
  if (!is_label_key_name(name)) out.push_back("name part " + rule);
  return out;
}

Messages check_label_value(std::string_view v) {
  Messages out;
  if (v.size() > 63) out.emplace_back("must be no more than 63 bytes");
  if (!v.empty() && !is_label_key_name(v)) {
    out.push_back(
        regex_error("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
                    "or '.', and must "
                    "start and end with an alphanumeric character",
                    "(" LIMPET_KEY_RE ")?", {"MyValue", "my_value", "12345"}));
  }
  return out;
}

Messages check_path_segment(std::string_view v) {
  if (v == ".") return {"may not be '.'"};
  if (v == "..") return {"may not be '..'"};
  Messages out;
  for (char c : {'/', '%'}) {
    if (v.find(c) != std::string_view::npos) out.push_back(std::string("may not contain '") + c + "'");
  }
  return out;
}

Messages check_env_var_name(std::string_view v) {
  Messages out;
  if (v.empty()) out.emplace_back("environment variable name must be non-empty");
  if (!all_of(v, [](char c) { return c >= 0x20 && c < 0x7f && c != '='; })) {
    out.emplace_back(
        "a valid environment variable name must consist only of printable ASCII characters other than '='");
  }
  return out;
}

Messages check_config_map_key(std::string_view v) {
  Messages out;
  if (v.size() > kMaxSubdomain) out.push_back(message_max_length(kMaxSubdomain));
  if (v.empty() || !all_of(v, [](char c) { return alnum(c) || c == '-' || c == '.' || c == '_'; })) {
    out.push_back(regex_error("a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                              "[-._a-zA-Z0-9]+", {"key.name", "KEY_NAME", "key-name"}));
  }
  check_dot_prefix(v, out);
  return out;
}

Messages check_c_identifier(std::string_view v) {
  if (!v.empty() && !digit(v.front()) && all_of(v, [](char c) { return alnum(c) || c == '_'; })) return {};
  return {
      regex_error("a valid C identifier must start with alphabetic character or '_', followed by a string of "
                  "alphanumeric "
                  "characters or '_'",
                  "[A-Za-z_][A-Za-z0-9_]*", {"my_name", "MY_NAME", "MyName"})};
}

Messages check_http_header_name(std::string_view v) {
  if (!v.empty() && all_of(v, [](char c) { return alnum(c) || c == '-'; })) return {};
  return {regex_error("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+",
                      {"X-Header-Name"})};
}

Messages check_port_number(int64_t port) {
  if (port >= 1 && port <= 65535) return {};
  return {message_range(1, 65535)};
}

Messages check_port_name(std::string_view v) {
  Messages out;
  if (v.size() > 15) out.push_back(message_max_length(15));
  if (v.empty() || !all_of(v, [](char c) { return lower_alnum(c) || c == '-'; })) {
    out.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (std::none_of(v.begin(), v.end(), lower)) out.emplace_back("must contain at least one letter (a-z)");
  if (v.find("--") != std::string_view::npos) out.emplace_back("must not contain consecutive hyphens");
  if (!v.empty() && (v.front() == '-' || v.back() == '-')) {
    out.emplace_back("must not begin or end with a hyphen");
  }
  return out;
}

Messages check_percent(std::string_view v) {
  if (v.size() > 1 && v.back() == '%' && all_of(v.substr(0, v.size() - 1), digit)) return {};
  return {regex_error("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%",
                      {"1%", "93%"})};
}

Messages check_user_id(int64_t id) {
  if (id >= 0 && id <= INT32_MAX) return {};
  return {message_range(0, INT32_MAX)};
}

namespace {

// Four decimal octets; *zeros tells of leading zeros, which old clients sent and which are read differently
// by libc.
bool parse_ipv4(std::string_view s, bool* zeros) {
  int octets = 0;
  for (;;) {
    const size_t dot = s.find('.');
    const std::string_view part = s.substr(0, dot);
    if (part.empty() || part.size() > 16 || !all_of(part, digit)) return false;
    int value = 0;
    for (char c : part) value = std::min(value * 10 + (c - '0'), 256);
    if (value > 255) return false;
    if (part.size() > 1 && part[0] == '0') *zeros = true;
    if (++octets > 4) return false;
    if (dot == std::string_view::npos) return octets == 4;
    s.remove_prefix(dot + 1);
  }
}

enum class IpForm { bad, v4, v4_zeros, v6, v4_mapped };

IpForm ip_form(std::string_view v, unsigned char* bytes) {
  bool zeros = false;
  if (v.find(':') == std::string_view::npos) {
    if (!parse_ipv4(v, &zeros)) return IpForm::bad;
    if (!zeros) inet_pton(AF_INET, std::string(v).c_str(), bytes);
    return zeros ? IpForm::v4_zeros : IpForm::v4;
  }
  if (v.size() > 45 || inet_pton(AF_INET6, std::string(v).c_str(), bytes) != 1) return IpForm::bad;
  static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return memcmp(bytes, kMapped, 12) == 0 ? IpForm::v4_mapped : IpForm::v6;
}

}  // namespace

Messages check_ip(std::string_view v) {
  unsigned char bytes[16];
  switch (ip_form(v, bytes)) {
    case IpForm::bad:
      return {"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"};
    case IpForm::v4_zeros:
      return {"must not have leading 0s"};
    case IpForm::v4_mapped:
      return {"must not be an IPv4-mapped IPv6 address"};
    case IpForm::v4:
    case IpForm::v6:
      break;
  }
  return {};
}

Messages check_cidr(std::string_view v) {
  const Messages bad = {"must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"};
  const size_t slash = v.find('/');
  if (slash == std::string_view::npos) return bad;
  const std::string_view length = v.substr(slash + 1);
  if (length.empty() || length.size() > 3 || !all_of(length, digit)) return bad;
  int bits = 0;
  for (char c : length) bits = bits * 10 + (c - '0');
  unsigned char bytes[16] = {};
  const IpForm form = ip_form(v.substr(0, slash), bytes);
  const int most = form == IpForm::v4 || form == IpForm::v4_zeros ? 32 : 128;
  if (form == IpForm::bad || bits > most) return bad;
  if (form == IpForm::v4_zeros || (length.size() > 1 && length[0] == '0')) {
    return {"must not have leading 0s in IP or prefix length"};
  }
  if (form == IpForm::v4_mapped) return {"must not have an IPv4-mapped IPv6 address"};
  for (int i = bits; i < most; i++) {
    if (bytes[i / 8] & (0x80 >> (i % 8))) return {"must not have bits set beyond the prefix length"};
  }
  return {};
}

Messages check_name(NameCheck rule, std::string_view value, bool prefix) {
  std::string masked(value);
  // A trailing dash of a prefix is followed by the suffix, so it may stand where it could not end a name.
  if (prefix && masked.size() > 1 && masked.back() == '-') {
    masked.resize(masked.size() - 2);
    masked += 'a';
  }
  return rule(masked);
}

std::string generate_name(std::string_view prefix, Random& random) {
  return std::string(prefix.substr(0, 58)) + random.suffix(5);
}

}  // namespace limpet::schema

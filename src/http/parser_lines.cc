#include "http/parser_lines.h"

#include <algorithm>

#include "http/message.h"

namespace limpet::http {
namespace {

constexpr size_t max_method_bytes = 32;

bool is_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos && c != '\0';
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

// What both libraries know and this server has a use for.
bool known_method(std::string_view m) {
  constexpr std::string_view known[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"};
  return std::find(std::begin(known), std::end(known), m) != std::end(known);
}

bool good_authority(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == ':' || c == '[' || c == ']' || c == '_';
  });
}

LineVerdict check_target(std::string_view target, std::string_view method) {
  for (const char c : target) {
    if (c <= 0x20 || c > 0x7e || c == '#') return {400, "forbidden character in the request target"};
  }
  if (target.starts_with('/')) return {};
  if (target == "*" && method == "OPTIONS") return {};
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    if (good_authority(target.substr(0, target.find_first_of("/?")))) return {};
  }
  return {400, "the request target must be a path"};
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

bool parse_length(std::string_view text, int64_t* out) {
  if (text.empty() || text.size() > 18) return false;
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  *out = value;
  return true;
}

}  // namespace

LineVerdict check_request_line(std::string_view line, size_t target_limit) {
  const size_t first = line.find(' ');
  const std::string_view method = line.substr(0, first);
  if (!is_token(method) || method.size() > max_method_bytes) return {400, "malformed request line"};
  if (first == std::string_view::npos) return {400, "malformed request line"};
  line.remove_prefix(first + 1);
  const size_t second = std::min(line.find(' '), line.size());
  const std::string_view target = line.substr(0, second);
  if (target.size() > target_limit) return {414, "the request target is too long"};
  if (second == line.size())
    return {400, "the request line has no protocol version (HTTP/0.9 is not served)"};
  const std::string_view version = line.substr(second + 1);
  const bool shaped = version.size() == 8 && version.starts_with("HTTP/") && version[5] >= '0' &&
                      version[5] <= '9' && version[6] == '.' && version[7] >= '0' && version[7] <= '9';
  if (!shaped) return {400, "malformed protocol version"};
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return {505, "unsupported protocol version"};
  if (!known_method(method)) return {501, "unknown request method"};
  return check_target(target, method);
}

LineVerdict check_status_line(std::string_view line) {
  const auto digit = [&](size_t i) { return line[i] >= '0' && line[i] <= '9'; };
  if (!(line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.0 ")))
    return {400, "malformed status line"};
  if (line.size() < 12 || line[9] < '1' || line[9] > '5' || !digit(10) || !digit(11)) {
    return {400, "malformed status code"};
  }
  if (line.size() > 12 && line[12] != ' ') return {400, "malformed status code"};
  for (const char c : line.substr(12)) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
      return {400, "malformed reason phrase"};
  }
  return {};
}

LineVerdict check_header_line(std::string_view line) {
  if (line.starts_with(' ') || line.starts_with('\t')) return {400, "folded header line"};
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return {400, "header line without a colon"};
  if (!is_token(line.substr(0, colon))) return {400, "malformed header name"};
  for (const char c : line.substr(colon + 1)) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) {
      return {400, "control character in a header value"};
    }
  }
  return {};
}

Framing check_framing(std::string_view section, bool request) {
  Framing f;
  const bool http11 = section.substr(0, section.find("\r\n")).find("HTTP/1.1") != std::string_view::npos;
  int hosts = 0;
  bool has_length = false, has_coding = false;
  section.remove_prefix(section.find("\r\n") + 2);
  while (section.size() > 2) {
    const size_t end = section.find("\r\n");
    const std::string_view line = section.substr(0, end);
    section.remove_prefix(end + 2);
    const size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
    if (same_text(name, "Content-Length")) {
      if (has_length) return {{400, "more than one Content-Length"}};
      if (!parse_length(value, &f.content_length)) return {{400, "malformed Content-Length"}};
      has_length = true;
    } else if (same_text(name, "Transfer-Encoding")) {
      if (has_coding || !same_text(value, "chunked")) return {{400, "unknown Transfer-Encoding"}};
      has_coding = true;
    } else if (same_text(name, "Host")) {
      if (request && !value.empty() && !good_authority(value)) return {{400, "malformed Host"}};
      ++hosts;
    }
  }
  if (has_length && has_coding) return {{400, "both Content-Length and Transfer-Encoding"}};
  if (has_coding && !http11) return {{400, "Transfer-Encoding in HTTP/1.0"}};
  if (request && (hosts > 1 || (http11 && hosts == 0))) return {{400, "there must be one Host header"}};
  f.chunked = has_coding;
  return f;
}

bool parse_chunk_size(std::string_view line, uint64_t* size) {
  const size_t end = std::min(line.find(';'), line.size());
  const std::string_view digits = line.substr(0, end);
  if (digits.empty() || digits.size() > 15) return false;
  uint64_t value = 0;
  for (const char c : digits) {
    int digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      return false;
    }
    value = value * 16 + static_cast<uint64_t>(digit);
  }
  for (const char c : line.substr(end)) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return false;
  }
  *size = value;
  return true;
}

}  // namespace limpet::http

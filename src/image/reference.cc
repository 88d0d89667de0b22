#include "image/reference.h"

#include <algorithm>

namespace limpet::image {
namespace {

constexpr size_t max_name = 255;
constexpr size_t max_tag = 128;

bool digit(char c) { return c >= '0' && c <= '9'; }
bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool alnum(char c) { return digit(c) || lower(c) || upper(c); }
bool hex_digit(char c) { return digit(c) || (c >= 'a' && c <= 'f'); }

// [a-z0-9]+ joined by ".", "_", "__" or any number of "-".
bool valid_component(std::string_view s) {
  if (s.empty() || !(lower(s.front()) || digit(s.front())) || !(lower(s.back()) || digit(s.back())))
    return false;
  for (size_t i = 0; i < s.size();) {
    if (lower(s[i]) || digit(s[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < s.size() && s[end] == s[i]) ++end;
    const size_t run = end - i;
    if (s[i] == '.' ? run != 1 : s[i] == '_' ? run > 2 : s[i] != '-') return false;
    if (end < s.size() && !(lower(s[end]) || digit(s[end]))) return false;
    i = end;
  }
  return true;
}

bool valid_host_label(std::string_view s) {
  if (s.empty() || s.size() > 63 || s.front() == '-' || s.back() == '-') return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '-'; });
}

bool valid_port(std::string_view s) {
  return !s.empty() && s.size() <= 5 && std::all_of(s.begin(), s.end(), digit);
}

bool valid_domain(std::string_view s) {
  if (s.starts_with('[')) {
    const size_t end = s.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    const std::string_view inside = s.substr(1, end - 1), rest = s.substr(end + 1);
    const bool good = std::all_of(inside.begin(), inside.end(), [](char c) {
      return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':';
    });
    return good && (rest.empty() || (rest[0] == ':' && valid_port(rest.substr(1))));
  }
  if (const size_t colon = s.find(':'); colon != std::string_view::npos) {
    if (!valid_port(s.substr(colon + 1))) return false;
    s = s.substr(0, colon);
  }
  while (true) {
    const size_t dot = s.find('.');
    if (!valid_host_label(s.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    s.remove_prefix(dot + 1);
  }
}

bool valid_tag(std::string_view s) {
  if (s.empty() || s.size() > max_tag || !(alnum(s[0]) || s[0] == '_')) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return alnum(c) || c == '_' || c == '.' || c == '-'; });
}

std::unexpected<Error> bad(std::string_view text, std::string_view why) {
  const std::string shown(text.substr(0, 300));
  return fail(Errc::invalid_argument, "couldn't parse image name \"" + shown + "\": " + std::string(why));
}

// Whether the first component is a registry, not the first part of a path.
bool is_domain(std::string_view s) {
  return s == "localhost" || s.find_first_of(".:") != std::string_view::npos ||
         std::any_of(s.begin(), s.end(), upper);
}

const char* check_path(std::string_view path) {
  if (std::any_of(path.begin(), path.end(), upper)) {
    return "invalid reference format: repository name must be lowercase";
  }
  while (true) {
    const size_t slash = path.find('/');
    if (!valid_component(path.substr(0, slash))) return "invalid reference format";
    if (slash == std::string_view::npos) return nullptr;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

bool valid_digest(std::string_view d) {
  return d.size() == 7 + 64 && d.starts_with("sha256:") && std::all_of(d.begin() + 7, d.end(), hex_digit);
}

std::string_view digest_hex(std::string_view digest) { return digest.substr(7); }

std::string Reference::text() const {
  std::string out = name();
  if (!tag.empty()) out += ":" + tag;
  if (!digest.empty()) out += "@" + digest;
  return out;
}

Result<Reference> parse_reference(std::string_view text) {
  if (text.empty()) return bad(text, "invalid reference format");
  Reference out;
  std::string_view rest = text;
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    out.digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!valid_digest(out.digest)) {
      const bool other = out.digest.find(':') != std::string::npos && !out.digest.starts_with("sha256:");
      return bad(text, other ? "unsupported digest algorithm" : "invalid reference format");
    }
  }
  const size_t slash = rest.rfind('/');
  if (const size_t colon = rest.rfind(':');
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    out.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!valid_tag(out.tag)) return bad(text, "invalid reference format");
  }
  if (rest.size() == 64 && std::all_of(rest.begin(), rest.end(), hex_digit)) {
    return bad(text, "invalid reference format: a name cannot be 64 hexadecimal digits");
  }
  const size_t first = rest.find('/');
  if (first != std::string_view::npos && is_domain(rest.substr(0, first))) {
    out.domain = rest.substr(0, first);
    out.path = rest.substr(first + 1);
    if (!valid_domain(out.domain)) return bad(text, "invalid reference format");
    if (out.domain == "index.docker.io") out.domain = "docker.io";
  } else {
    out.domain = "docker.io";
    out.path = rest;
  }
  if (const char* why = check_path(out.path)) return bad(text, why);
  if (out.domain == "docker.io" && out.path.find('/') == std::string::npos) out.path = "library/" + out.path;
  if (out.name().size() > max_name) return bad(text, "repository name must not be more than 255 characters");
  if (out.tag.empty() && out.digest.empty()) out.tag = "latest";
  return out;
}

}  // namespace limpet::image

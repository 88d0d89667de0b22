#include "image/auth.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/json.h"

namespace limpet::image {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string lowered(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

std::string canonical_host(std::string host) {
  host = lowered(host);
  if (host == "index.docker.io" || host == "registry-1.docker.io" || host == "registry.docker.io")
    return "docker.io";
  return host;
}

// "*" stands for any characters of one label.
bool glob_label(std::string_view pattern, std::string_view text) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == text;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  pattern.remove_prefix(star + 1);
  text.remove_prefix(star);
  for (size_t skip = 0; skip <= text.size(); ++skip) {
    if (glob_label(pattern, text.substr(skip))) return true;
  }
  return false;
}

bool host_matches(std::string_view pattern, std::string_view host) {
  while (true) {
    const size_t a = pattern.find('.'), b = host.find('.');
    if (std::count(pattern.begin(), pattern.end(), '*') > 4 ||
        !glob_label(pattern.substr(0, a), host.substr(0, b))) {
      return false;
    }
    if (a == std::string_view::npos || b == std::string_view::npos) return a == b;
    pattern.remove_prefix(a + 1);
    host.remove_prefix(b + 1);
  }
}

// How well the key of `auths` fits: -1 not at all, else the length of its path.
int match(std::string_view key, const Reference& image) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  }
  while (key.ends_with('/')) key.remove_suffix(1);
  const size_t slash = key.find('/');
  std::string_view path = slash == std::string_view::npos ? "" : key.substr(slash + 1);
  if (path == "v1" || path == "v2") path = "";
  if (!host_matches(canonical_host(std::string(key.substr(0, slash))), canonical_host(image.domain)))
    return -1;
  if (path.empty()) return 0;
  const bool inside =
      image.path.starts_with(path) && (image.path.size() == path.size() || image.path[path.size()] == '/');
  return inside ? static_cast<int>(path.size()) : -1;
}

std::optional<Credential> credential(json::Ref entry) {
  Credential out;
  out.user = entry["username"].str();
  out.password = entry["password"].str();
  out.identity_token = entry["identitytoken"].str();
  if (const std::string_view packed = entry["auth"].str(); !packed.empty()) {
    const auto plain = base64_decode(packed);
    if (!plain) return std::nullopt;
    const size_t colon = plain->find(':');
    if (colon == std::string::npos) return std::nullopt;
    out.user = plain->substr(0, colon);
    out.password = plain->substr(colon + 1);
    while (out.password.ends_with('\0')) out.password.pop_back();
  }
  if (out.user.empty() && out.identity_token.empty()) return std::nullopt;
  return out;
}

bool token_char(char c) {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

void skip(std::string_view& s, std::string_view what) {
  while (!s.empty() && what.find(s.front()) != std::string_view::npos) s.remove_prefix(1);
}

std::string_view take_token(std::string_view& s) {
  size_t n = 0;
  while (n < s.size() && token_char(s[n])) ++n;
  const std::string_view out = s.substr(0, n);
  s.remove_prefix(n);
  return out;
}

bool take_value(std::string_view& s, std::string* out) {
  if (!s.starts_with('"')) {
    *out = take_token(s);
    return !out->empty();
  }
  s.remove_prefix(1);
  while (!s.empty() && s.front() != '"') {
    if (s.front() == '\\' && s.size() > 1) s.remove_prefix(1);
    *out += s.front();
    s.remove_prefix(1);
  }
  if (s.empty()) return false;
  s.remove_prefix(1);
  return true;
}

}  // namespace

Result<std::vector<Credential>> find_credentials(std::string_view docker_config, const Reference& image) {
  std::vector<Credential> out;
  if (docker_config.empty()) return out;
  auto value = json::parse(docker_config, {.allow_duplicates = true});
  // The text of the error could quote a secret.
  if (!value || !value->ref().is_object())
    return fail(Errc::invalid_argument, "registry credentials are not valid JSON");
  const json::Ref doc = *value;
  const json::Ref auths = doc["auths"].is_object() ? doc["auths"] : doc;
  std::vector<std::pair<int, Credential>> found;
  for (const json::Ref entry : auths) {
    const int fit = entry.is_object() ? match(entry.key(), image) : -1;
    if (fit < 0) continue;
    if (auto c = credential(entry)) found.emplace_back(fit, std::move(*c));
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [fit, c] : found) out.push_back(std::move(c));
  return out;
}

std::string_view Challenge::get(std::string_view name) const {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return {};
}

std::vector<Challenge> parse_challenges(std::string_view s) {
  std::vector<Challenge> out;
  while (true) {
    skip(s, " \t,");
    const std::string_view word = take_token(s);
    if (word.empty()) return out;
    skip(s, " \t");
    if (!s.starts_with('=')) {
      out.push_back({lowered(word), {}});
      continue;
    }
    s.remove_prefix(1);
    skip(s, " \t");
    std::string value;
    if (out.empty() || !take_value(s, &value)) return out;
    out.back().parameters.emplace_back(lowered(word), std::move(value));
  }
}

std::string basic_authorization(const Credential& c) {
  return "Basic " + base64_encode(c.user + ":" + c.password);
}

}  // namespace limpet::image

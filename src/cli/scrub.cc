#include "cli/scrub.h"

#include <algorithm>

#include "base/bytes.h"

namespace limpet::cli {
namespace {

constexpr std::string_view gone = "[removed]";
constexpr size_t line_worth_knowing = 16;  // of secrets of many lines

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool digit_or_letter(char c) { return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9'); }
bool of_name(char c) { return digit_or_letter(c) || c == '_' || c == '-' || c == '.'; }
bool of_base64(char c) {
  return digit_or_letter(c) || c == '_' || c == '-' || c == '+' || c == '/' || c == '=';
}

void replace_all(std::string& text, std::string_view what) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += gone.size())
    text.replace(at, what.size(), gone);
}

void remove_private_keys(std::string& text) {
  constexpr std::string_view begin = "-----BEGIN ", end = "-----END ", dashes = "-----";
  for (size_t at = 0; (at = text.find(begin, at)) != std::string::npos;) {
    const size_t title = text.find(dashes, at + begin.size());
    const bool is_private =
        title != std::string::npos && std::string_view(text).substr(at, title - at).ends_with("PRIVATE KEY");
    if (!is_private) {
      at += begin.size();
      continue;
    }
    size_t last = text.find(end, title);
    if (last != std::string::npos) last = text.find(dashes, last + end.size());
    // A block that was cut off is removed to its last character that may be of one.
    const size_t stop = last == std::string::npos ? text.size() : last + dashes.size();
    text.replace(at, stop - at, gone);
    at += gone.size();
  }
}

// header.payload.signature, each base64url; the header of a JWT begins with {" which is eyJ.
void remove_jwts(std::string& text) {
  for (size_t at = 0; (at = text.find("eyJ", at)) != std::string::npos;) {
    size_t end = at, dots = 0;
    while (end < text.size() && (of_base64(text[end]) || text[end] == '.')) dots += text[end++] == '.';
    const bool begins = at == 0 || !of_base64(text[at - 1]);
    if (begins && dots >= 2 && end - at >= 20) {
      text.replace(at, end - at, gone);
      at += gone.size();
    } else {
      at += 3;
    }
  }
}

void remove_credentials(std::string& text) {
  for (const std::string_view scheme : {"Bearer ", "Basic "}) {
    for (size_t at = 0; (at = text.find(scheme, at)) != std::string::npos;) {
      at += scheme.size();
      size_t end = at;
      while (end < text.size() && (of_base64(text[end]) || text[end] == '.' || text[end] == '~')) end++;
      // A challenge ("Basic realm=...") is no credential.
      if (end - at < Scrubber::shortest || text.compare(at, 6, "realm=") == 0) continue;
      text.replace(at, end - at, gone);
      at += gone.size();
    }
  }
}

// scheme://user:password@host
void remove_user_information(std::string& text) {
  for (size_t at = 0; (at = text.find("://", at)) != std::string::npos;) {
    at += 3;
    const size_t end = std::min(text.find_first_of("/ \t\n\"'<>\\,", at), text.size());
    const size_t sign = text.rfind('@', end == 0 ? 0 : end - 1);
    if (sign == std::string::npos || sign <= at) continue;
    text.replace(at, sign - at, gone);
    at += gone.size();
  }
}

// NAME=value, "name": "value", name: value.
void remove_named(std::string& text) {
  for (size_t at = 0; at < text.size(); at++) {
    if (text[at] != '=' && text[at] != ':') continue;
    size_t end = at;
    while (end > 0 &&
           (text[end - 1] == '"' || text[end - 1] == '\'' || text[end - 1] == '\\' || text[end - 1] == ' '))
      end--;
    size_t begin = end;
    while (begin > 0 && of_name(text[begin - 1])) begin--;
    if (!secret_name(std::string_view(text).substr(begin, end - begin))) continue;
    size_t value = at + 1;
    while (value < text.size() &&
           (text[value] == ' ' || text[value] == '\\' || text[value] == '"' || text[value] == '\''))
      value++;
    const bool quoted = value > at + 1 && (text[value - 1] == '"' || text[value - 1] == '\'');
    const char quote = quoted ? text[value - 1] : 0;
    size_t stop = value;
    while (stop < text.size() && text[stop] != '\n') {
      if (quoted ? text[stop] == quote || text[stop] == '\\'
                 : text[stop] == ' ' || text[stop] == ',' || text[stop] == '"' || text[stop] == '\'' ||
                       text[stop] == '}' || text[stop] == '&')
        break;
      stop++;
    }
    const std::string_view found = std::string_view(text).substr(value, stop - value);
    // Objects, lists and plain words of JSON are no secrets, and what is gone stays as it is.
    if (found.empty() || found[0] == '{' || found[0] == '[' ||
        (!quoted && (found == "true" || found == "false" || found == "null")))
      continue;
    text.replace(value, stop - value, gone);
    at = value + gone.size() - 1;
  }
}

}  // namespace

bool secret_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c != '_' && c != '-' && c != '.') plain += lower(c);
  }
  for (const std::string_view end :
       {"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "accesskey", "secretkey",
        "privatekey", "clientkeydata", "credential", "credentials", "auth"}) {
    if (plain.ends_with(end)) return true;
  }
  return false;
}

void Scrubber::know(std::string_view secret) {
  const auto add = [this](std::string value) {
    if (value.size() >= shortest && std::find(known_.begin(), known_.end(), value) == known_.end())
      known_.push_back(std::move(value));
  };
  std::string trimmed(secret);
  while (trimmed.ends_with('\n')) trimmed.pop_back();
  add(trimmed);
  if (trimmed.size() >= shortest) {
    add(base64_encode(secret));
    add(base64_encode(trimmed));
    std::string escaped = json::quoted(trimmed);
    add(escaped.substr(1, escaped.size() - 2));
  }
  if (trimmed.find('\n') != std::string::npos) {
    for (size_t at = 0; at < trimmed.size();) {
      const size_t end = std::min(trimmed.find('\n', at), trimmed.size());
      if (end - at >= line_worth_knowing && trimmed.compare(at, 5, "-----") != 0)
        add(trimmed.substr(at, end - at));
      at = end + 1;
    }
  }
  std::stable_sort(known_.begin(), known_.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

void Scrubber::know_secrets(json::Ref list) {
  for (json::Ref secret : list["items"]) {
    for (json::Ref value : secret["data"]) {
      const auto plain = base64_decode(value.str());
      if (!plain) continue;
      know(*plain);
      if (plain->starts_with('{')) know_docker_config(*plain);
    }
  }
}

void Scrubber::know_docker_config(std::string_view text) {
  const auto config = json::parse(text);
  if (!config) return;
  for (json::Ref auth : config->ref()["auths"]) {
    for (const char* key : {"auth", "password", "identitytoken", "registrytoken"}) know(auth[key].str());
    const auto pair = base64_decode(auth["auth"].str());
    const size_t colon = pair ? pair->find(':') : std::string::npos;
    if (colon != std::string::npos) know(pair->substr(colon + 1));
  }
}

std::string Scrubber::text(std::string_view in) const {
  std::string out(in);
  for (const std::string& secret : known_) replace_all(out, secret);
  remove_private_keys(out);
  remove_jwts(out);
  remove_credentials(out);
  remove_user_information(out);
  remove_named(out);
  return out;
}

void Scrubber::pod(json::Ref pod) {
  pod["metadata"]["annotations"].remove("kubectl.kubernetes.io/last-applied-configuration");
  pod["metadata"].remove("managedFields");
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"}) {
    for (json::Ref c : pod["spec"][list]) {
      for (json::Ref e : c["env"]) {
        if (e["value"].is_string() && secret_name(e["name"].str())) e.set("value", std::string(gone));
      }
    }
  }
}

}  // namespace limpet::cli

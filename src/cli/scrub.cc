#include "cli/scrub.h"

#include <algorithm>

#include "base/bytes.h"
#include "cli/scrub_flags.h"
#include "cli/scrub_text.h"

namespace limpet::cli {
namespace {

constexpr size_t line_worth_knowing = 16;  // of secrets of many lines

bool of_base64(char c) { return (of_name(c) && c != '.') || c == '+' || c == '/' || c == '='; }

void replace_all(std::string& text, std::string_view what) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size())
    cuts.add(at, at + what.size());
}

// What stands before the end of a block whose beginning was cut off: lines (also those that a JSON string
// writes as \n) that end in a long word of base64, and the one right before, which may be short.
size_t headless_begin(std::string_view text, size_t end) {
  constexpr size_t long_word = 32;
  size_t at = end;
  for (bool first = true;; first = false) {
    size_t stop = at;
    if (stop > 0 && text[stop - 1] == '\n') stop--;
    if (stop > 0 && text[stop - 1] == '\r') stop--;
    if (stop == at && text.substr(0, at).ends_with("\\n")) stop -= 2;
    size_t word = stop;
    while (word > 0 && of_base64(text[word - 1])) word--;
    if (word > 0 && text[word - 1] == '\\' && word < stop && text[word] == 'n') word++;
    if (word == stop || (stop - word < long_word && !first)) return at;
    at = word;
    // With what stands before it in its line, as a date of the journal, one more line may follow.
    if (at > 0 && text[at - 1] != '\n') {
      const size_t line = text.rfind('\n', at - 1);
      if (line == std::string_view::npos || text.substr(line, at - line).find('"') != std::string_view::npos)
        return at;
      at = line + 1;
    }
  }
}

constexpr std::string_view pem_begin = "-----BEGIN ", pem_end = "-----END ", dashes = "-----";

bool is_private(std::string_view text, size_t at, size_t title) {
  return title != std::string::npos && text.substr(at, title - at).find("PRIVATE KEY") != std::string::npos;
}

void remove_private_keys(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find(pem_begin, at)) != std::string::npos;) {
    const size_t title = text.find(dashes, at + pem_begin.size());
    if (!is_private(text, at, title)) {
      at += pem_begin.size();
      continue;
    }
    size_t last = text.find(pem_end, title);
    if (last != std::string::npos) last = text.find(dashes, last + pem_end.size());
    // A block that was cut off is removed to its last character that may be of one.
    const size_t stop = last == std::string::npos ? text.size() : last + dashes.size();
    cuts.add(at, stop);
    at = stop;
  }
}

// Those whose beginning was cut off.
void remove_ends_of_private_keys(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find(pem_end, at)) != std::string::npos;) {
    const size_t title = text.find(dashes, at + pem_end.size());
    if (!is_private(text, at, title)) {
      at += pem_end.size();
      continue;
    }
    const size_t line = text.rfind('\n', at);
    const std::string_view before = std::string_view(text).substr(
        line == std::string::npos ? 0 : line + 1, at - (line == std::string::npos ? 0 : line + 1));
    // The journal's words before the last line go too.
    const size_t from = headless_begin(
        text, before.find("\\n") == std::string_view::npos && before.find('"') == std::string_view::npos
                  ? at - before.size()
                  : at);
    cuts.add(std::max(from, cuts.end()), title + dashes.size());
    at = cuts.end();
  }
}

// header.payload.signature, each base64url; the header of a JWT begins with {" which is eyJ.
void remove_jwts(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find("eyJ", at)) != std::string::npos;) {
    size_t end = at + 3, dots = 0;
    if (at == 0 || !of_base64(text[at - 1])) {
      while (end < text.size() && (of_base64(text[end]) || text[end] == '.')) dots += text[end++] == '.';
      if (dots >= 2 && end - at >= 20) cuts.add(at, end);
    }
    at = end;
  }
}

size_t find_word(std::string_view text, std::string_view word, size_t at) {
  const auto found = std::search(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), word.begin(),
                                 word.end(), [](char a, char b) { return lower(a) == b; });
  return found == text.end() ? std::string::npos : static_cast<size_t>(found - text.begin());
}

void remove_credentials(std::string& text) {
  for (const std::string_view scheme : {"bearer ", "basic "}) {
    Cuts cuts(text);
    for (size_t at = 0; (at = find_word(text, scheme, at)) != std::string::npos;) {
      at += scheme.size();
      size_t end = at;
      while (end < text.size() && (of_base64(text[end]) || text[end] == '.' || text[end] == '~')) end++;
      // A challenge ("Basic realm=...") is no credential.
      if (end - at < Scrubber::shortest || text.compare(at, 6, "realm=") == 0) continue;
      cuts.add(at, end);
      at = end;
    }
  }
}

// The end of user:password where the password has a character that should be escaped in a URL: what stands
// behind the first colon is no port, and a sign of a host comes in the same word.
size_t odd_password(std::string_view rest, size_t end) {
  const size_t colon = rest.substr(0, end).find(':');
  if (colon == std::string_view::npos || colon == 0) return std::string_view::npos;
  const std::string_view tail = rest.substr(colon + 1, end - colon - 1);
  if (!tail.empty() && tail.find_first_not_of("0123456789") == std::string_view::npos)
    return std::string_view::npos;
  const std::string_view word = rest.substr(0, std::min(rest.find_first_of(" \t\n\"\\", end), rest.size()));
  return word.substr(0, word.find("://", end)).rfind('@');
}

// user:password@tcp(host:port)/x of Go's drivers
void remove_user_of_driver(std::string& text) {
  Cuts cuts(text);
  for (const std::string_view where : {"@tcp(", "@unix(", "@tcp6("}) {
    for (size_t at = 0; (at = text.find(where, at)) != std::string::npos; at++) {
      size_t begin = at;
      while (begin > cuts.end() && !of_space(text[begin - 1]) && !of_quote(text[begin - 1])) begin--;
      const size_t colon = text.find(':', begin);
      if (colon < at && colon + 1 < at && text.compare(colon + 1, kGone.size(), kGone) != 0)
        cuts.add(colon + 1, at);
    }
  }
}

// scheme://user:password@host
void remove_user_information(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find("://", at)) != std::string::npos;) {
    at += 3;
    const size_t end = std::min(text.find_first_of("/ \t\n\"'<>\\,", at), text.size());
    size_t sign = std::string_view(text).substr(at, end - at).rfind('@');
    if (sign == std::string_view::npos) sign = odd_password(std::string_view(text).substr(at), end - at);
    if (sign != std::string_view::npos && sign > 0) cuts.add(at, at + sign);
    at = end;
  }
}

// Whether the place is inside of a string in double quotes that began in its line. False in a line that is
// too long to tell, where then rather too much goes.
bool in_quotes(std::string_view text, size_t at) {
  constexpr size_t farthest = 8192;
  bool in = false;
  for (size_t i = at; i > 0 && text[i - 1] != '\n'; i--) {
    if (at - i > farthest) return false;
    if (text[i - 1] == '"' && backslashes_before(text, i - 1) == 0) in = !in;
  }
  return in;
}

// Where a value without quotes ends: in a URL with its part; in JSON with a comma; else it may have blanks in
// it and goes to the end of its line, or of the string that all of it stands in.
size_t end_of_plain(std::string_view text, size_t name, size_t at, bool json) {
  if (json) return std::min(text.find_first_of(",}] \t\n", at), text.size());
  if (name > 0 && (text[name - 1] == '?' || text[name - 1] == '&'))
    return std::min(text.find_first_of("& \t\n\"'<>#\\", at), text.size());
  const char single = name > 0 && text[name - 1] == '\'' ? '\'' : '\n';
  const bool quoted = in_quotes(text, name);
  while (at < text.size() && text[at] != '\n' && text[at] != single) {
    if (quoted && text[at] == '"') return at - std::min(backslashes_before(text, at), size_t{1});
    at++;
  }
  return at;
}

// "password: |" of YAML: the lines that follow and begin farther to the right than the line of the name. The
// place where it ends, `at` when it is no block.
size_t end_of_block(std::string_view text, size_t name, size_t at, std::string_view value) {
  if (value.size() > 3 || (value[0] != '|' && value[0] != '>')) return at;
  const auto indent = [&](size_t line) {
    return std::min(text.find_first_not_of(" -", line), text.size()) - line;
  };
  const size_t before = name == 0 ? std::string_view::npos : text.rfind('\n', name - 1);
  const size_t base = indent(before == std::string_view::npos ? 0 : before + 1);
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at + 1), text.size());
    if (end > at + 1 && indent(at + 1) <= base) break;
    at = end;
  }
  return at;
}

// Objects, lists and plain words of JSON and YAML are no secrets.
bool plain_of_json(std::string_view value) {
  return value[0] == '{' || value[0] == '[' || value == "true" || value == "false" || value == "null";
}

// Removes what begins after the colon or sign of equality, blanks and an opening quote; gives the place after
// it.
size_t remove_value(std::string_view text, Cuts& cuts, size_t name, size_t colon, bool json) {
  size_t at = colon + 1;
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) at++;
  size_t open = at;
  while (open < text.size() && text[open] == '\\') open++;
  const bool quoted = open < text.size() && of_quote(text[open]);
  const size_t value = quoted ? open + 1 : at;
  size_t stop = quoted ? end_of_quoted(text, open) : end_of_plain(text, name, value, json);
  const std::string_view found = text.substr(value, stop - value);
  const bool assigned = !json && text[colon] == '=';
  if (found.empty() || (!quoted && !assigned && plain_of_json(found))) return value;
  if (!quoted && text[colon] == ':') stop = end_of_block(text, name, stop, found);
  cuts.add(value, stop);
  return stop;
}

// After {"name":"DB_PASSWORD" or "- name: DB_PASSWORD" the value that follows as "value".
void remove_value_of_pair(std::string_view text, Cuts& cuts, size_t at) {
  size_t begin = at;
  while (begin < text.size() && (of_space(text[begin]) || text[begin] == '\\' || text[begin] == '"' ||
                                 text[begin] == '\'' || text[begin] == ',')) {
    begin++;
  }
  size_t end = begin;
  while (end < text.size() && of_name(text[end])) end++;
  if (find_word(std::string_view(text).substr(begin, end - begin), "value", 0) != 0 || end - begin != 5)
    return;
  const size_t key_end = end;
  while (end < text.size() && (text[end] == '\\' || of_quote(text[end]) || text[end] == ' ')) end++;
  if (end < text.size() && text[end] == ':') (void)remove_value(text, cuts, begin, end, end > key_end);
}

// NAME=value, "name": "value", name: value, and "name": "NAME", "value": "value".
void remove_named(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; at < text.size(); at++) {
    if (text[at] != '=' && text[at] != ':') continue;
    size_t end = at;
    while (end > 0 && (of_quote(text[end - 1]) || text[end - 1] == '\\' || text[end - 1] == ' ')) end--;
    size_t begin = end;
    while (begin > 0 && of_name(text[begin - 1])) begin--;
    const std::string_view name = std::string_view(text).substr(begin, end - begin);
    const bool json = end < at && (of_quote(text[at - 1]) || text[end] == '\\' || of_quote(text[end]));
    if (secret_name(name)) {
      at = remove_value(text, cuts, begin, at, json) - 1;
    } else if (name.size() == 4 && find_word(name, "name", 0) == 0) {
      size_t word = at + 1;
      while (word < text.size() && (text[word] == ' ' || text[word] == '\\' || of_quote(text[word]))) word++;
      size_t stop = word;
      while (stop < text.size() && of_name(text[stop])) stop++;
      if (secret_name(std::string_view(text).substr(word, stop - word)))
        remove_value_of_pair(text, cuts, stop);
    }
  }
}

}  // namespace

bool secret_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c != '_' && c != '-' && c != '.') plain += lower(c);
  }
  while (!plain.empty() && plain.back() >= '0' && plain.back() <= '9') plain.pop_back();
  // Names of keys in Kubernetes' own objects, and what everybody may know.
  for (const std::string_view known : {"key", "keys", "topologykey", "publickey", "bypass"}) {
    if (plain == known) return false;
  }
  for (const std::string_view end : {"password", "passwords", "passwd", "passphrase", "pwd", "pass", "secret",
                                     "token", "key", "psk", "secretkeybase", "clientkeydata", "credential",
                                     "credentials", "auth", "authorization", "cookie", "sig", "signature"}) {
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
  remove_ends_of_private_keys(out);
  remove_jwts(out);
  remove_credentials(out);
  remove_user_information(out);
  remove_user_of_driver(out);
  remove_after_flags(out);
  remove_after_short_flags(out);
  remove_named(out);
  return out;
}

void Scrubber::tree(json::Ref node) const {
  if (node.is_object()) {
    node.remove("kubectl.kubernetes.io/last-applied-configuration");
    node.remove("managedFields");
    if (node["value"].is_string() && secret_name(node["name"].str())) node.set("value", std::string(kGone));
    std::vector<std::pair<std::string, std::string>> changed;
    for (json::Ref member : node) {
      if (!member.is_string()) {
        tree(member);
        continue;
      }
      const std::string clean =
          secret_name(member.key()) && !member.str().empty() ? std::string(kGone) : text(member.str());
      if (clean != member.str()) changed.emplace_back(member.key(), clean);
    }
    for (const auto& [key, value] : changed) node.set(key, value);
  } else if (node.is_array()) {
    list(node);
  }
}

// Arguments: a word may be a secret for the flag before it.
void Scrubber::list(json::Ref node) const {
  const bool arguments = node.size() > 0 && node.at(0).str().starts_with('-');
  Command command = arguments ? Command::of_arguments() : Command();
  bool after_flag = false;
  for (size_t i = 0; i < node.size(); i++) {
    const json::Ref element = node.at(i);
    if (!element.is_string()) {
      tree(element);
      after_flag = false;
      command.end();
      continue;
    }
    const std::string was(element.str());
    Command::Piece piece = command.value(was);
    const bool is_value = piece.end > piece.begin;
    if (is_value) {
      (void)command.word("");  // it was no word of its own
    } else {
      piece = command.word(was);
    }
    std::string clean = after_flag && !was.starts_with("--") ? std::string(kGone) : text(was);
    if (piece.end > piece.begin && clean == was)
      clean = was.substr(0, piece.begin) + std::string(kGone) + was.substr(piece.end);
    after_flag = secret_flag(was);
    if (clean != was) node.replace_at(i, json::Value::string(clean));
  }
}

std::string Scrubber::document(json::Ref value) const {
  tree(value);
  // Lines, so that what is cut off leaves the rest readable. Names of members may be known secrets too.
  std::string out = value.pretty() + "\n";
  for (const std::string& secret : known_) replace_all(out, secret);
  return out;
}

}  // namespace limpet::cli

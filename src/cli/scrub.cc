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

// Pieces of a text that go, each found while the text is still whole; all go at the end, so that the time is
// that of the text's length, however many they are. Never overlapping, each after the one before.
class Cuts {
 public:
  explicit Cuts(std::string& text) : text_(text) {}
  ~Cuts() {
    if (pieces_.empty()) return;
    std::string out;
    size_t copied = 0;
    for (const auto& [begin, end] : pieces_) {
      out.append(text_, copied, begin - copied).append(gone);
      copied = end;
    }
    text_ = out.append(text_, copied);
  }
  Cuts(const Cuts&) = delete;
  void add(size_t begin, size_t end) {
    if (!pieces_.empty() && begin < pieces_.back().second) {
      pieces_.back().second = std::max(pieces_.back().second, end);
    } else {
      pieces_.emplace_back(begin, end);
    }
  }
  // Where what goes so far ends.
  size_t end() const { return pieces_.empty() ? 0 : pieces_.back().second; }

 private:
  std::string& text_;
  std::vector<std::pair<size_t, size_t>> pieces_;
};

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

// scheme://user:password@host
void remove_user_information(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find("://", at)) != std::string::npos;) {
    at += 3;
    const size_t end = std::min(text.find_first_of("/ \t\n\"'<>\\,", at), text.size());
    const size_t sign = std::string_view(text).substr(at, end - at).rfind('@');
    if (sign != std::string_view::npos && sign > 0) cuts.add(at, at + sign);
    at = end;
  }
}

bool of_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool of_quote(char c) { return c == '"' || c == '\''; }

size_t backslashes_before(std::string_view text, size_t at) {
  size_t n = 0;
  while (n < at && text[at - 1 - n] == '\\') n++;
  return n;
}

// The end of a string in quotes that begins after the quote at `open`. A string of JSON in a string of JSON
// begins with \" and ends with the next \" that is not itself escaped, which then has three backslashes or
// more; the end of an outer string ends it too.
size_t end_of_quoted(std::string_view text, size_t open) {
  const size_t level = backslashes_before(text, open) + 1;  // 1, 2, 4, ...
  for (size_t at = open + 1; at < text.size(); at++) {
    if (text[at] == '\n') return at;
    if (text[at] != text[open]) continue;
    const size_t n = std::min(backslashes_before(text, at), at - open - 1);
    for (size_t outer = 1; outer <= level; outer *= 2) {
      if (n % (2 * outer) == outer - 1) return at - (outer - 1);
    }
  }
  return text.size();
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

// "--password", without a value of its own.
bool secret_flag(std::string_view word) {
  const size_t name = word.find_first_not_of('-');
  return name != std::string_view::npos && name > 0 && word.find('=') == std::string_view::npos &&
         secret_name(word.substr(name));
}

// --password VALUE of a command, ["--password","VALUE"], and as a list of YAML.
void remove_after_flags(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find('-', at)) != std::string::npos;) {
    const bool begins = at == 0 || !of_name(text[at - 1]);
    size_t end = at;
    while (end < text.size() && of_name(text[end])) end++;
    const bool flag = begins && secret_flag(std::string_view(text).substr(at, end - at));
    at = end;
    if (!flag || end == text.size() || (!of_space(text[end]) && !of_quote(text[end]) && text[end] != '\\'))
      continue;
    const bool list = !of_space(text[end]);
    size_t value = end;
    while (value < text.size() &&
           (of_space(text[value]) ||
            (list && (text[value] == '\\' || of_quote(text[value]) || text[value] == ',')))) {
      value++;
    }
    const std::string_view between = std::string_view(text).substr(end, value - end);
    // The list may end here; only its comma leads to the next element.
    if (list && between.find(',') == std::string_view::npos) continue;
    const bool lines = between.find('\n') != std::string_view::npos;
    if (!list && lines) {
      if (!std::string_view(text).substr(value).starts_with("- ")) continue;
      value += 2;
    }
    if (!list && value < text.size() && of_quote(text[value])) value++;
    if (std::string_view(text).substr(value).starts_with(gone)) continue;
    const bool quoted = value > 0 && of_quote(text[value - 1]);
    size_t stop = value;
    if (quoted) {
      stop = end_of_quoted(text, value - 1);
    } else {
      stop = std::min(text.find_first_of(lines ? "\n" : " \t\n\"'\\,]", value), text.size());
    }
    const std::string_view found = std::string_view(text).substr(value, stop - value);
    if (found.empty() || found.starts_with("--")) continue;
    cuts.add(value, stop);
    at = stop;
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
  remove_after_flags(out);
  remove_named(out);
  return out;
}

void Scrubber::tree(json::Ref node) const {
  if (node.is_object()) {
    node.remove("kubectl.kubernetes.io/last-applied-configuration");
    node.remove("managedFields");
    if (node["value"].is_string() && secret_name(node["name"].str())) node.set("value", std::string(gone));
    std::vector<std::pair<std::string, std::string>> changed;
    for (json::Ref member : node) {
      if (!member.is_string()) {
        tree(member);
        continue;
      }
      const std::string clean =
          secret_name(member.key()) && !member.str().empty() ? std::string(gone) : text(member.str());
      if (clean != member.str()) changed.emplace_back(member.key(), clean);
    }
    for (const auto& [key, value] : changed) node.set(key, value);
  } else if (node.is_array()) {
    bool after_flag = false;
    for (size_t i = 0; i < node.size(); i++) {
      const json::Ref element = node.at(i);
      if (!element.is_string()) {
        tree(element);
        after_flag = false;
        continue;
      }
      const std::string was(element.str());
      const std::string clean = after_flag && !was.starts_with("--") ? std::string(gone) : text(was);
      after_flag = secret_flag(was);
      if (clean != was) node.replace_at(i, json::Value::string(clean));
    }
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

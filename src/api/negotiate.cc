#include "api/negotiate.h"

#include <algorithm>
#include <cstdlib>

namespace limpet::api {
namespace {

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

// Splits at `sep` outside quotes.
std::vector<std::string_view> split(std::string_view s, char sep) {
  std::vector<std::string_view> out;
  bool quoted = false;
  size_t start = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '"') quoted = !quoted;
    if (s[i] == sep && !quoted) {
      out.push_back(s.substr(start, i - start));
      start = i + 1;
    }
  }
  out.push_back(s.substr(start));
  return out;
}

bool read_param(std::string_view text, MediaType& m) {
  size_t eq = text.find('=');
  if (eq == std::string_view::npos) return text.empty();
  std::string name = lower(trim(text.substr(0, eq)));
  std::string_view value = trim(text.substr(eq + 1));
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  if (name == "q") {
    std::string number(value);
    char* end = nullptr;
    m.q = strtod(number.c_str(), &end);
    return end != number.c_str() && *end == 0 && m.q >= 0 && m.q <= 1;
  }
  m.params.emplace_back(std::move(name), std::string(value));
  return true;
}

bool json_like(std::string_view type) {
  return type == "application/json" || type == "*/*" || type == "application/*";
}

// nullopt: this clause cannot be served.
std::optional<Answer> serve(const MediaType& m, std::string_view include_object, bool transforms) {
  if (!json_like(m.type)) return std::nullopt;
  std::string_view as = m.param("as");
  Answer a;
  if (as.empty()) return a;
  if (!transforms || m.param("g") != "meta.k8s.io") return std::nullopt;
  std::string_view v = m.param("v");
  if (v != "v1" && v != "v1beta1") return std::nullopt;
  a.version = v;
  if (as == "Table") {
    a.shape = Shape::table;
    if (include_object == "Object") a.include = Answer::Include::object;
    if (include_object == "None") a.include = Answer::Include::none;
    return a;
  }
  if (as == "PartialObjectMetadata")
    a.shape = Shape::partial;
  else if (as == "PartialObjectMetadataList")
    a.shape = Shape::partial_list;
  else
    return std::nullopt;
  return a;
}

}  // namespace

std::string_view MediaType::param(std::string_view name) const {
  for (const auto& [k, v] : params) {
    if (k == name) return v;
  }
  return {};
}

std::optional<MediaType> parse_media_type(std::string_view text) {
  std::vector<std::string_view> parts = split(text, ';');
  MediaType m;
  m.type = lower(trim(parts[0]));
  size_t slash = m.type.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == m.type.size()) return std::nullopt;
  if (m.type.find_first_of(" \t\"") != std::string::npos) return std::nullopt;
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!read_param(trim(parts[i]), m)) return std::nullopt;
  }
  return m;
}

std::vector<MediaType> parse_accept(std::string_view header) {
  std::vector<MediaType> out;
  for (std::string_view part : split(header, ',')) {
    if (out.size() >= 32) break;  // nobody needs more; bounds the work on a hostile header
    std::optional<MediaType> m = parse_media_type(trim(part));
    if (m && m->q > 0) out.push_back(std::move(*m));
  }
  std::stable_sort(out.begin(), out.end(), [](const MediaType& a, const MediaType& b) { return a.q > b.q; });
  return out;
}

std::optional<Answer> negotiate(std::string_view accept, std::string_view include_object, bool transforms) {
  if (trim(accept).empty()) return Answer{};
  for (const MediaType& m : parse_accept(accept)) {
    if (std::optional<Answer> a = serve(m, include_object, transforms)) return a;
  }
  return std::nullopt;
}

}  // namespace limpet::api

// Request targets: percent-decoding, queries, and the one normal form of a path.
#include "http/message.h"

namespace limpet::http {
namespace {

constexpr size_t max_query_pairs = 1000;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus_is_space) {
      c = ' ';
    } else if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return fail(Errc::invalid_argument, strf("bad percent escape at byte %zu", i));
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return fail(Errc::invalid_argument, strf("NUL at byte %zu", i));
    out.push_back(c);
  }
  return out;
}

}  // namespace

Result<std::string> percent_decode(std::string_view text) { return decode(text, false); }

std::string percent_encode(std::string_view text) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.append({'%', digits[byte >> 4], digits[byte & 15]});
    }
  }
  return out;
}

Result<Query> parse_query(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const size_t end = std::min(text.find('&'), text.size());
    const std::string_view item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (item.empty()) continue;
    if (query.pairs.size() == max_query_pairs)
      return fail(Errc::too_large, "more than 1000 query parameters");
    const size_t equals = std::min(item.find('='), item.size());
    TRY(std::string key, decode(item.substr(0, equals), true));
    TRY(std::string value, decode(item.substr(std::min(equals + 1, item.size())), true));
    query.pairs.emplace_back(std::move(key), std::move(value));
  }
  return query;
}

Result<> split_target(std::string_view target, std::string* path, Query* query) {
  if (!target.starts_with('/')) {  // absolute-form: the authority says nothing new; or "*"
    const size_t scheme = target.find("://");
    if (scheme == std::string_view::npos)
      return fail(Errc::invalid_argument, "the request target is not a path");
    const size_t slash = target.find_first_of("/?", scheme + 3);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  const size_t question = std::min(target.find('?'), target.size());
  TRY(*query, parse_query(target.substr(std::min(question + 1, target.size()))));
  std::string_view raw = target.substr(0, question);
  if (raw.empty()) raw = "/";
  // One trailing slash is a common way to write the same thing.
  if (raw.size() > 1 && raw.ends_with('/') && !raw.ends_with("//")) raw.remove_suffix(1);
  std::string decoded;
  decoded.reserve(raw.size());
  for (std::string_view rest = raw; !rest.empty();) {
    rest.remove_prefix(1);  // the slash
    const size_t end = std::min(rest.find('/'), rest.size());
    TRY(const std::string segment, percent_decode(rest.substr(0, end)));
    if (segment.empty() && raw != "/") return fail(Errc::invalid_argument, "empty segment in the path");
    if (segment == "." || segment == "..") return fail(Errc::invalid_argument, "dot segment in the path");
    if (segment.find('/') != std::string::npos)
      return fail(Errc::invalid_argument, "encoded slash in the path");
    decoded.append("/").append(segment);
    rest.remove_prefix(end);
  }
  *path = std::move(decoded);
  return {};
}

}  // namespace limpet::http

#include "api/list_options.h"

#include <charconv>

#include "api/object.h"
#include "api/request_info.h"
#include "base/bytes.h"
#include "base/json.h"

namespace limpet::api {
namespace {

Status wrong(std::string field, std::string reason, std::string message) {
  return status::invalid("meta.k8s.io", "ListOptions", "",
                         {{std::move(reason), std::move(message), std::move(field)}});
}

Status forbidden(std::string field, std::string why) {
  return wrong(std::move(field), "FieldValueForbidden", "Forbidden: " + std::move(why));
}

std::optional<int64_t> number(std::string_view text) {
  int64_t v = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return v;
}

Outcome<int64_t> count(const http::Query& q, std::string_view name) {
  std::string_view text = q.get(name);
  if (text.empty()) return 0;
  std::optional<int64_t> v = number(text);
  if (!v || *v < 0) {
    return std::unexpected(status::bad_request("invalid " + std::string(name) + ": \"" +
                                               std::string(text.substr(0, 64)) +
                                               "\" is not a number from 0"));
  }
  return *v;
}

Outcome<> check_watch(const ListOptions& o, std::string_view match) {
  if (o.send_initial_events) {
    if (o.match != Match::not_older_than) {
      return std::unexpected(forbidden(
          "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
  } else if (!match.empty()) {
    return std::unexpected(
        forbidden("resourceVersionMatch",
                  "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
  }
  return {};
}

Outcome<> check_list(const ListOptions& o) {
  if (o.send_initial_events) {
    return std::unexpected(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
  }
  if (!o.continue_token.empty() && o.version) {
    return std::unexpected(
        status::bad_request("specifying resource version is not allowed when using continue"));
  }
  if (o.match == Match::unset) return {};
  if (!o.version_given) {
    return std::unexpected(forbidden("resourceVersionMatch",
                                     "resourceVersionMatch is forbidden unless resourceVersion is provided"));
  }
  if (!o.continue_token.empty()) {
    return std::unexpected(
        forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
  }
  if (o.match == Match::exact && o.version == 0) {
    return std::unexpected(forbidden(
        "resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
  }
  return {};
}

}  // namespace

Outcome<ListOptions> read_list_options(const http::Query& q, bool watch) {
  ListOptions o;
  Outcome<int64_t> limit = count(q, "limit");
  if (!limit) return std::unexpected(limit.error());
  o.limit = *limit;
  Outcome<int64_t> timeout = count(q, "timeoutSeconds");
  if (!timeout) return std::unexpected(timeout.error());
  o.timeout_s = *timeout;
  o.continue_token = q.get("continue");
  std::string_view rv = q.get("resourceVersion");
  o.version_given = !rv.empty();
  Result<store::Revision> version = parse_version(rv);
  if (!version) {
    return std::unexpected(
        wrong("resourceVersion", "FieldValueInvalid",
              "Invalid value: " + json::quoted(rv.substr(0, 64)) + ": must be a resource version"));
  }
  o.version = *version;
  std::string_view match = q.get("resourceVersionMatch");
  if (match == "NotOlderThan") {
    o.match = Match::not_older_than;
  } else if (match == "Exact") {
    o.match = Match::exact;
  } else if (!match.empty()) {
    return std::unexpected(wrong("resourceVersionMatch", "FieldValueNotSupported",
                                 "Unsupported value: " + json::quoted(match.substr(0, 64)) +
                                     ": supported values: \"Exact\", \"NotOlderThan\""));
  }
  o.bookmarks = truthy(q, "allowWatchBookmarks");
  if (q.has("sendInitialEvents")) o.send_initial_events = truthy(q, "sendInitialEvents");
  Outcome<> sound = watch ? check_watch(o, match) : check_list(o);
  if (!sound) return std::unexpected(sound.error());
  return o;
}

std::string encode_continue(const Position& p, std::string_view fingerprint) {
  json::Writer w;
  w.begin_object()
      .field("v", 1)
      .field("rv", p.revision)
      .field("after", p.after)
      .field("for", fingerprint)
      .end_object();
  return base64url_encode(w.text());
}

Outcome<Position> decode_continue(std::string_view token, std::string_view fingerprint,
                                  std::string_view prefix) {
  auto bad = [] {
    return std::unexpected(status::bad_request("continue key is not valid: it belongs to another list"));
  };
  if (token.size() > 4096) return bad();
  Result<std::string> text = base64url_decode(token);
  if (!text) return bad();
  Result<json::Value> tree = json::parse(*text);
  if (!tree) return bad();
  json::Ref t = tree->ref();
  if (t["v"].integer() != 1 || t["for"].str() != fingerprint) return bad();
  Position p;
  p.revision = t["rv"].integer(-1);
  p.after = t["after"].str();
  if (p.revision < 0 || !p.after.starts_with(prefix)) return bad();
  return p;
}

}  // namespace limpet::api

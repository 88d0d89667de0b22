#include "api/status.h"

#include "base/json.h"

namespace limpet::api {

std::string qualified(std::string_view name, std::string_view group) {
  std::string out(name);
  if (!group.empty()) out.append(".").append(group);
  return out;
}

std::string Status::json() const {
  json::Writer w;
  w.begin_object().field("kind", "Status").field("apiVersion", "v1");
  w.key("metadata").begin_object();
  if (!continue_token.empty()) w.field("continue", continue_token);
  w.end_object();
  w.field("status", reason.empty() ? "Success" : "Failure");
  if (!message.empty()) w.field("message", message);
  if (!reason.empty()) w.field("reason", reason);
  if (!name.empty() || !group.empty() || !kind.empty() || !uid.empty() || !causes.empty() || retry_after_s) {
    w.key("details").begin_object();
    if (!name.empty()) w.field("name", name);
    if (!group.empty()) w.field("group", group);
    if (!kind.empty()) w.field("kind", kind);
    if (!uid.empty()) w.field("uid", uid);
    if (!causes.empty()) {
      w.key("causes").begin_array();
      for (const Cause& c : causes) {
        w.begin_object();
        if (!c.reason.empty()) w.field("reason", c.reason);
        if (!c.message.empty()) w.field("message", c.message);
        if (!c.field.empty()) w.field("field", c.field);
        w.end_object();
      }
      w.end_array();
    }
    if (retry_after_s) w.field("retryAfterSeconds", retry_after_s);
    w.end_object();
  }
  w.field("code", code).end_object();
  return w.take();
}

namespace status {
namespace {

Status make(int code, std::string_view reason, std::string message) {
  Status s;
  s.code = code;
  s.reason = reason;
  s.message = std::move(message);
  return s;
}

Status about(Status s, const schema::Resource& r, std::string_view name) {
  s.group = r.group();
  s.kind = r.plural();
  s.name = name;
  return s;
}

std::string named(const schema::Resource& r, std::string_view name) {
  return qualified(r.plural(), r.group()) + " \"" + std::string(name) + "\"";
}

}  // namespace

Status bad_request(std::string message) { return make(400, "BadRequest", std::move(message)); }

Status unauthorized() { return make(401, "Unauthorized", "Unauthorized"); }

Status forbidden(const schema::Resource& r, std::string_view name, std::string_view why) {
  std::string what = name.empty() ? qualified(r.plural(), r.group()) : named(r, name);
  return about(make(403, "Forbidden", what + " is forbidden: " + std::string(why)), r, name);
}

Status forbidden_path(std::string_view user, std::string_view verb, std::string_view path) {
  std::string m = "forbidden: User \"" + std::string(user) + "\" cannot " + std::string(verb) + " path \"" +
                  std::string(path) + "\"";
  return make(403, "Forbidden", std::move(m));
}

Status not_found(const schema::Resource& r, std::string_view name) {
  return about(make(404, "NotFound", named(r, name) + " not found"), r, name);
}

Status no_such_path() { return make(404, "NotFound", "the server could not find the requested resource"); }

Status method_not_allowed() {
  return make(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
}

Status not_acceptable(std::string_view accepted) {
  return make(406, "NotAcceptable", "only the following media types are accepted: " + std::string(accepted));
}

Status conflict(const schema::Resource& r, std::string_view name, std::string_view why) {
  std::string m = "Operation cannot be fulfilled on " + named(r, name) + ": " + std::string(why);
  return about(make(409, "Conflict", std::move(m)), r, name);
}

Status modified(const schema::Resource& r, std::string_view name) {
  return conflict(
      r, name, "the object has been modified; please apply your changes to the latest version and try again");
}

Status already_exists(const schema::Resource& r, std::string_view name) {
  return about(make(409, "AlreadyExists", named(r, name) + " already exists"), r, name);
}

Status expired(std::string message) { return make(410, "Expired", std::move(message)); }

Status too_large_version(int64_t asked, int64_t current) {
  Status s = make(504, "Timeout",
                  strf("Timeout: Too large resource version: %lld, current: %lld",
                       static_cast<long long>(asked), static_cast<long long>(current)));
  s.causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  s.retry_after_s = 1;
  return s;
}

Status entity_too_large(std::string message) {
  return make(413, "RequestEntityTooLarge", std::move(message));
}

Status unsupported_media_type(std::string_view accepted) {
  return make(415, "UnsupportedMediaType",
              "the body of the request was in an unknown format - accepted media types include: " +
                  std::string(accepted));
}

Status invalid(std::string_view group, std::string_view kind, std::string_view name,
               std::vector<Cause> causes) {
  std::string list;
  for (const Cause& c : causes) {
    if (!list.empty()) list += ", ";
    if (!c.field.empty()) list += c.field + ": ";
    list += c.message;
  }
  if (causes.size() > 1) list = "[" + list + "]";
  Status s =
      make(422, "Invalid", qualified(kind, group) + " \"" + std::string(name) + "\" is invalid: " + list);
  s.group = group;
  s.kind = kind;
  s.name = name;
  s.causes = std::move(causes);
  return s;
}

Status too_many_requests(std::string message, int retry_after_s) {
  Status s = make(429, "TooManyRequests", std::move(message));
  s.retry_after_s = retry_after_s;
  return s;
}

Status internal(std::string_view why) {
  Status s = make(500, "InternalError", "Internal error occurred: " + std::string(why));
  s.causes.push_back({"", std::string(why), ""});
  return s;
}

Status unavailable(std::string message, int retry_after_s) {
  Status s = make(503, "ServiceUnavailable", std::move(message));
  s.retry_after_s = retry_after_s;
  return s;
}

Status timeout(std::string message) { return make(504, "Timeout", "Timeout: " + std::move(message)); }

Status deleted(const schema::Resource& r, std::string_view name, std::string_view uid) {
  Status s = about(make(200, "", ""), r, name);
  s.uid = uid;
  return s;
}

Status from_error(const Error& e) {
  switch (e.code) {
    case Errc::unavailable:
      return unavailable(e.message, 1);
    case Errc::timeout:
      return timeout(e.message + "; the outcome is unknown");
    case Errc::exhausted:
      return make(507, "InsufficientStorage", e.message);
    case Errc::expired:
      return expired(e.message);
    case Errc::too_large:
      return entity_too_large(e.message);
    case Errc::invalid_argument:
      return bad_request(e.message);
    case Errc::unsupported: {
      return make(501, "NotImplemented", e.message);
    }
    default:
      return internal(e.message);
  }
}

Status from_device(const Error& e) {
  if (e.code == Errc::not_found) return make(404, "NotFound", e.message);
  Status s = from_error(e);
  s.message = e.message;
  return s;
}

}  // namespace status
}  // namespace limpet::api

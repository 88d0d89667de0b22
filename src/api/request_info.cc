#include "api/request_info.h"

namespace limpet::api {

bool truthy(const http::Query& query, std::string_view name) {
  std::string_view v = query.get(name);
  return query.has(name) && v != "0" && !http::same_text(v, "false");
}

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string_view part = path.substr(0, slash);
    if (!part.empty()) parts.push_back(part);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

namespace {

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string verb_of(const http::Request& request, bool has_name) {
  const std::string& m = request.method;
  if (m == "GET" || m == "HEAD") {
    if (truthy(request.query, "watch") && !has_name) return "watch";
    return has_name ? "get" : "list";
  }
  if (m == "POST") return "create";
  if (m == "PUT") return "update";
  if (m == "PATCH") return "patch";
  if (m == "DELETE") return has_name ? "delete" : "deletecollection";
  return lower(m);
}

// Parts after the version: [namespaces NS] resource [name [subresource [rest...]]].
void read_resource(const std::vector<std::string_view>& p, size_t i, RequestInfo& info) {
  // "namespaces/x/status" and "namespaces/x/finalize" are subresources of the namespace, not resources in it.
  if (p[i] == "namespaces" && i + 2 < p.size() && p[i + 2] != "status" && p[i + 2] != "finalize") {
    info.ns = p[i + 1];
    i += 2;
  } else if (p[i] == "namespaces" && i + 1 < p.size()) {
    info.ns = p[i + 1];
  }
  info.resource = p[i++];
  if (i < p.size()) info.name = p[i++];
  if (i < p.size()) info.subresource = p[i++];
  for (; i < p.size(); ++i) {
    if (!info.rest.empty()) info.rest += '/';
    info.rest += p[i];
  }
  info.malformed = !info.rest.empty() && info.subresource != "proxy";
}

}  // namespace

RequestInfo parse_request_info(const http::Request& request) {
  RequestInfo info;
  info.path = request.path;
  info.verb = lower(request.method);
  std::vector<std::string_view> p = split_path(request.path);
  size_t i = 0;
  if (p.size() >= 3 && p[0] == "api") {
    info.version = p[1];
    i = 2;
  } else if (p.size() >= 4 && p[0] == "apis") {
    info.group = p[1];
    info.version = p[2];
    i = 3;
  } else {
    return info;
  }
  info.is_resource = true;
  read_resource(p, i, info);
  info.verb = verb_of(request, !info.name.empty());
  if (info.verb == "list" || info.verb == "watch") info.field_selector = request.query.get("fieldSelector");
  return info;
}

}  // namespace limpet::api

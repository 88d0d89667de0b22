// What a request is about, read from its method, path and query alone (no look-up, no body): the group,
// version, resource, namespace, name, subresource and Kubernetes verb, which authorisation, metrics and
// routing share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace limpet::api {

struct RequestInfo {
  bool is_resource = false;
  std::string verb;  // resource: get, list, watch, create, update, patch, delete, deletecollection; else the
                     // method in lower case
  std::string path;
  std::string group, version;
  std::string resource, subresource;
  std::string ns, name;
  std::string rest;            // path after the subresource ("proxy/..."), without a slash in front
  std::string field_selector;  // of a list or watch, as it stands in the query
  bool malformed = false;      // deeper than any address of the API

  bool read_only() const { return verb == "get" || verb == "list" || verb == "watch"; }
};

// As Kubernetes reads a boolean of a query: not given, "0" and "false" in any case are false, all else is
// true, "maybe" and a parameter without value included.
bool truthy(const http::Query& query, std::string_view name);

std::vector<std::string_view> split_path(std::string_view path);
RequestInfo parse_request_info(const http::Request& request);

}  // namespace limpet::api

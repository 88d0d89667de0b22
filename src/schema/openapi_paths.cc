// The paths of an OpenAPI document: for each resource its collection, its items and its subresources.
#include "schema/openapi_document.h"

namespace limpet::schema {

namespace {

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

const Type* meta(std::string_view name) { return find_type(std::string(kMeta) + std::string(name)); }

std::string capital(std::string_view s) {
  std::string out(s);
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out;
}

// "CoreV1", "CoordinationV1": the middle of an operationId.
std::string group_version_id(const Resource& r) {
  const std::string_view group = r.group().empty() ? "core" : r.group().substr(0, r.group().find('.'));
  return capital(group) + capital(r.version());
}

std::string base_path(const Resource& r) {
  if (r.group().empty()) return "/api/" + std::string(r.version());
  return "/apis/" + std::string(r.group()) + "/" + std::string(r.version());
}

std::string_view next_word(std::string_view& rest, char separator) {
  const size_t at = std::min(rest.find(separator), rest.size());
  const std::string_view word = rest.substr(0, at);
  rest.remove_prefix(std::min(at + 1, rest.size()));
  return word;
}

bool writes(std::string_view method) { return method == "post" || method == "put" || method == "patch"; }

}  // namespace

void OpenapiDocument::parameter(std::string_view name, std::string_view in, std::string_view type,
                                std::string_view doc) {
  w_.begin_object().field("name", name).field("in", in).field("description", doc);
  if (in == "path") w_.field("required", true);
  if (v2_) {
    w_.field("type", type).field("uniqueItems", true);
  } else {
    w_.key("schema").begin_object().field("type", type).field("uniqueItems", true).end_object();
  }
  w_.end_object();
}

void OpenapiDocument::path_head(const std::string& path, bool namespaced, bool named) {
  w_.key(path).begin_object();
  w_.key("parameters").begin_array();
  if (named) parameter("name", "path", "string", "Name of the object.");
  if (namespaced) parameter("namespace", "path", "string", "Namespace of the object.");
  parameter("pretty", "query", "string", "Indent the answer for a person to read.");
  w_.end_array();
}

void OpenapiDocument::parameters(const Operation& op) {
  w_.key("parameters").begin_array();
  if (writes(op.method) && op.action != "connect") {
    parameter("dryRun", "query", "string", "All: do everything but keep the result.");
    parameter("fieldManager", "query", "string", "Who makes the change, for the record of owned fields.");
    parameter(
        "fieldValidation", "query", "string",
        "What becomes of unknown and repeated fields: Strict refuses, Warn reports, Ignore drops them.");
    if (op.method == "patch")
      parameter("force", "query", "boolean", "Apply takes over fields that others own.");
  }
  if (op.method == "delete") {
    parameter("dryRun", "query", "string", "All: do everything but keep the result.");
    parameter("gracePeriodSeconds", "query", "integer",
              "Seconds until the object may be removed; 0 is at once.");
    parameter("propagationPolicy", "query", "string",
              "Orphan, Background or Foreground: what becomes of dependents.");
  }
  if (op.action == "list" || op.action == "deletecollection") {
    parameter("labelSelector", "query", "string", "Only objects with such labels.");
    parameter("fieldSelector", "query", "string", "Only objects with such fields.");
    parameter("limit", "query", "integer", "At most so many objects in one answer.");
    parameter("continue", "query", "string", "Where an earlier answer stopped.");
    parameter("resourceVersion", "query", "string", "Not older than, or from, this version.");
    parameter("resourceVersionMatch", "query", "string",
              "How resourceVersion is meant: Exact or NotOlderThan.");
    parameter("timeoutSeconds", "query", "integer", "End the call after this time.");
  }
  if (op.action == "list") {
    parameter("watch", "query", "boolean", "Go on with a stream of changes.");
    parameter("allowWatchBookmarks", "query", "boolean", "Send bookmarks with the version reached.");
    parameter("sendInitialEvents", "query", "boolean", "Begin a watch with the objects that exist.");
  }
  if (v2_ && op.body) {
    w_.begin_object().field("name", "body").field("in", "body").field("required", op.method != "delete");
    w_.key("schema");
    ref(*op.body);
    w_.end_object();
  }
  w_.end_array();
}

void OpenapiDocument::content(std::string_view media_type, const Type* type) {
  w_.key(media_type).begin_object().key("schema");
  if (type) {
    ref(*type);
  } else {
    w_.begin_object().field("type", "string").end_object();
  }
  w_.end_object();
}

void OpenapiDocument::request_body(const Operation& op) {
  static constexpr std::string_view kPatches[] = {
      "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
      "application/strategic-merge-patch+json"};
  if (v2_) {
    w_.key("consumes").begin_array();
    if (op.method == "patch") {
      for (std::string_view type : kPatches) w_.string(type);
    } else {
      w_.string("*/*");
    }
    w_.end_array();
    return;
  }
  if (!op.body) return;
  w_.key("requestBody").begin_object();
  if (op.method != "delete") w_.field("required", true);
  w_.key("content").begin_object();
  if (op.method == "patch") {
    for (std::string_view type : kPatches) content(type, op.body);
  } else {
    content("*/*", op.body);
  }
  w_.end_object().end_object();
}

void OpenapiDocument::responses(const Operation& op) {
  struct Code {
    const char *code, *text;
  };
  static constexpr Code kCodes[] = {{"200", "OK"}, {"201", "Created"}, {"202", "Accepted"}};
  w_.key("responses").begin_object();
  for (const Code& c : kCodes) {
    const bool created = c.code[2] == '1' && writes(op.method) && op.action != "connect";
    const bool accepted = c.code[2] == '2' && op.method == "delete" && !op.many;
    if (c.code[2] != '0' && !created && !accepted) continue;
    w_.key(c.code).begin_object().field("description", c.text);
    if (v2_) {
      w_.key("schema");
      if (op.answer) {
        ref(*op.answer);
      } else {
        w_.begin_object().field("type", "string").end_object();
      }
    } else {
      w_.key("content").begin_object();
      content(op.answer ? "application/json" : "*/*", op.answer);
      if (op.answer) content("application/vnd.kubernetes.protobuf", op.answer);
      w_.end_object();
    }
    w_.end_object();
  }
  w_.key("401").begin_object().field("description", "Unauthorized").end_object();
  w_.end_object();
}

void OpenapiDocument::operation(const Resource& r, const Operation& op) {
  w_.key(op.method).begin_object();
  std::string id(op.verb);
  id += group_version_id(r);
  if (op.action == "connect") id += capital(op.method);
  if (op.action == "deletecollection") id += "Collection";
  w_.field("operationId", id + op.name);
  w_.field("description", std::string(op.verb) + " " + std::string(op.gvk.kind));
  w_.key("tags").begin_array();
  w_.string((r.group().empty() ? "core" : std::string(r.group().substr(0, r.group().find('.')))) + "_" +
            std::string(r.version()));
  w_.end_array();
  parameters(op);
  request_body(op);
  responses(op);
  w_.field("x-kubernetes-action", op.action);
  w_.key("x-kubernetes-group-version-kind");
  gvk_members(op.gvk);
  w_.end_object();
}

void OpenapiDocument::collection(const Resource& r, const std::string& path, bool everywhere) {
  const StringList verbs = r.verbs();
  const Gvk gvk{r.group(), r.version(), r.kind()};
  const std::string kind(r.kind());
  const std::string name =
      everywhere ? kind + "ForAllNamespaces" : (r.namespaced() ? "Namespaced" : "") + kind;
  path_head(path, r.namespaced() && !everywhere, false);
  if (verbs.contains("list")) {
    operation(r, {"get", "list", "list", gvk, nullptr, r.list_type(), true, name});
  }
  if (verbs.contains("create") && !everywhere) {
    operation(r, {"post", "post", "create", gvk, r.type(), r.type(), true, name});
  }
  if (verbs.contains("deletecollection") && !everywhere) {
    operation(
        r, {"delete", "deletecollection", "delete", gvk, meta("DeleteOptions"), meta("Status"), true, name});
  }
  w_.end_object();
}

void OpenapiDocument::item(const Resource& r, const std::string& path) {
  const StringList verbs = r.verbs();
  const Gvk gvk{r.group(), r.version(), r.kind()};
  const std::string name = (r.namespaced() ? "Namespaced" : "") + std::string(r.kind());
  path_head(path, r.namespaced(), true);
  if (verbs.contains("get")) operation(r, {"get", "get", "read", gvk, nullptr, r.type(), false, name});
  if (verbs.contains("update")) operation(r, {"put", "put", "replace", gvk, r.type(), r.type(), false, name});
  if (verbs.contains("patch")) {
    operation(r, {"patch", "patch", "patch", gvk, meta("Patch"), r.type(), false, name});
  }
  if (verbs.contains("delete")) {
    // A pod or namespace that lingers is answered with itself, everything else with a Status.
    operation(r, {"delete", "delete", "delete", gvk, meta("DeleteOptions"), meta("Status"), false, name});
  }
  w_.end_object();
}

// "eviction=Eviction.v1.policy:create", see types.h.
void OpenapiDocument::subresource(const Resource& r, const std::string& path, std::string_view declared) {
  std::string_view verbs = declared;
  const std::string sub(next_word(verbs, '='));
  std::string_view kind_version_group = next_word(verbs, ':');
  const std::string_view kind = next_word(kind_version_group, '.');
  const std::string_view version = next_word(kind_version_group, '.');
  const Gvk gvk{version.empty() ? r.group() : kind_version_group, version.empty() ? r.version() : version,
                kind};
  const std::string api_version =
      gvk.group.empty() ? std::string(gvk.version) : std::string(gvk.group) + "/" + std::string(gvk.version);
  const Type* type = find_kind_type(api_version, kind);
  const bool log = sub == "log";
  const std::string name = (r.namespaced() ? "Namespaced" : "") + std::string(r.kind()) + capital(sub);

  path_head(path + "/" + sub, r.namespaced(), true);
  while (!verbs.empty()) {
    const std::string_view verb = next_word(verbs, ',');
    const std::string_view method = verb == "create"   ? "post"
                                    : verb == "update" ? "put"
                                    : verb == "get"    ? "get"
                                                       : verb;
    if (!type) {
      operation(r, {method, "connect", "connect", gvk, nullptr, nullptr, false, name});
    } else if (method == "get") {
      operation(r, {method, "get", "read", gvk, nullptr, log ? nullptr : type, false, name});
    } else if (method == "patch") {
      operation(r, {method, "patch", "patch", gvk, meta("Patch"), type, false, name});
    } else {
      operation(r, {method, method, method == "put" ? "replace" : "create", gvk, type, type, false, name});
    }
  }
  w_.end_object();
}

void OpenapiDocument::resource_paths(const Resource& r) {
  const std::string plural(r.plural());
  const std::string path = base_path(r) + (r.namespaced() ? "/namespaces/{namespace}/" : "/") + plural;
  if (!r.verbs().empty()) collection(r, path, false);
  if (r.namespaced() && r.verbs().contains("list")) collection(r, base_path(r) + "/" + plural, true);
  if (r.verbs().contains("get")) item(r, path + "/{name}");
  for (std::string_view sub : r.subresources()) subresource(r, path + "/{name}", sub);
}

}  // namespace limpet::schema

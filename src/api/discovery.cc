#include "api/discovery.h"

#include <algorithm>
#include <vector>

#include "api/negotiate.h"
#include "api/object.h"
#include "api/request_info.h"
#include "base/json.h"
#include "schema/types.h"

namespace limpet::api {
namespace {

using schema::Resource;

struct GroupVersion {
  std::string_view group, version;
  bool operator==(const GroupVersion&) const = default;
};

std::vector<GroupVersion> group_versions() {
  std::vector<GroupVersion> out;
  for (const Resource& r : schema::resources()) {
    GroupVersion gv{r.group(), r.version()};
    if (std::find(out.begin(), out.end(), gv) == out.end()) out.push_back(gv);
  }
  return out;
}

std::vector<std::string_view> groups() {
  std::vector<std::string_view> out;
  for (const GroupVersion& gv : group_versions()) {
    if (!gv.group.empty() && std::find(out.begin(), out.end(), gv.group) == out.end())
      out.push_back(gv.group);
  }
  return out;
}

// "name=Kind[.version.group]:verb,verb"
struct Subresource {
  std::string_view name, kind, version, group;
  std::vector<std::string_view> verbs;
};

Subresource read_subresource(std::string_view text, const Resource& of) {
  Subresource s;
  size_t eq = text.find('='), colon = text.find(':');
  s.name = text.substr(0, eq);
  s.group = of.group();
  s.version = of.version();
  if (eq == std::string_view::npos || colon == std::string_view::npos || colon < eq) return s;
  s.kind = text.substr(eq + 1, colon - eq - 1);
  if (size_t dot = s.kind.find('.'); dot != std::string_view::npos) {
    std::string_view rest = s.kind.substr(dot + 1);
    s.kind = s.kind.substr(0, dot);
    size_t second = rest.find('.');
    s.version = rest.substr(0, second);
    s.group = second == std::string_view::npos ? std::string_view() : rest.substr(second + 1);
  }
  std::string_view verbs = text.substr(colon + 1);
  while (!verbs.empty()) {
    size_t comma = verbs.find(',');
    s.verbs.push_back(verbs.substr(0, comma));
    verbs.remove_prefix(comma == std::string_view::npos ? verbs.size() : comma + 1);
  }
  return s;
}

template <class Range>
void strings(json::Writer& w, std::string_view key, const Range& values) {
  w.key(key).begin_array();
  for (std::string_view v : values) w.string(v);
  w.end_array();
}

void kind_ref(json::Writer& w, std::string_view group, std::string_view version, std::string_view kind) {
  w.key("responseKind").begin_object();
  w.field("group", group).field("version", version).field("kind", kind).end_object();
}

void aggregated_resource(json::Writer& w, const Resource& r) {
  w.begin_object().field("resource", r.plural());
  kind_ref(w, r.group(), r.version(), r.kind());
  w.field("scope", r.namespaced() ? "Namespaced" : "Cluster").field("singularResource", r.singular());
  strings(w, "verbs", r.verbs());
  if (!r.short_names().empty()) strings(w, "shortNames", r.short_names());
  if (!r.categories().empty()) strings(w, "categories", r.categories());
  if (!r.subresources().empty()) {
    w.key("subresources").begin_array();
    for (std::string_view text : r.subresources()) {
      Subresource s = read_subresource(text, r);
      w.begin_object().field("subresource", s.name);
      kind_ref(w, s.group, s.version, s.kind);
      strings(w, "verbs", s.verbs);
      w.end_object();
    }
    w.end_array();
  }
  w.end_object();
}

void aggregated_group(json::Writer& w, std::string_view group) {
  w.begin_object().key("metadata").begin_object();
  if (!group.empty()) w.field("name", group);
  w.key("creationTimestamp").null().end_object();
  w.key("versions").begin_array();
  for (const GroupVersion& gv : group_versions()) {
    if (gv.group != group) continue;
    w.begin_object().field("version", gv.version).key("resources").begin_array();
    for (const Resource& r : schema::resources()) {
      if (r.group() == group && r.version() == gv.version) aggregated_resource(w, r);
    }
    w.end_array().field("freshness", "Current").end_object();
  }
  w.end_array().end_object();
}

Document aggregated(bool core, const std::string& version) {
  json::Writer w;
  w.begin_object()
      .field("kind", "APIGroupDiscoveryList")
      .field("apiVersion", "apidiscovery.k8s.io/" + version);
  w.key("metadata").begin_object().end_object().key("items").begin_array();
  if (core) {
    aggregated_group(w, "");
  } else {
    for (std::string_view g : groups()) aggregated_group(w, g);
  }
  w.end_array().end_object();
  return {w.take(), "application/json;g=apidiscovery.k8s.io;v=" + version + ";as=APIGroupDiscoveryList"};
}

void version_entry(json::Writer& w, const GroupVersion& gv) {
  w.begin_object()
      .field("groupVersion", api_version(gv.group, gv.version))
      .field("version", gv.version)
      .end_object();
}

void group_fields(json::Writer& w, std::string_view group) {
  w.field("name", group).key("versions").begin_array();
  GroupVersion preferred;
  for (const GroupVersion& gv : group_versions()) {
    if (gv.group != group) continue;
    if (preferred.version.empty()) preferred = gv;
    version_entry(w, gv);
  }
  w.end_array().key("preferredVersion");
  version_entry(w, preferred);
}

Document legacy_api() {
  json::Writer w;
  w.begin_object().field("kind", "APIVersions").key("versions").begin_array().string("v1").end_array();
  w.key("serverAddressByClientCIDRs").begin_array().end_array().end_object();
  return {w.take()};
}

Document legacy_groups() {
  json::Writer w;
  w.begin_object().field("kind", "APIGroupList").field("apiVersion", "v1").key("groups").begin_array();
  for (std::string_view g : groups()) {
    w.begin_object();
    group_fields(w, g);
    w.end_object();
  }
  w.end_array().end_object();
  return {w.take()};
}

std::optional<Document> legacy_group(std::string_view group) {
  std::vector<std::string_view> all = groups();
  if (std::find(all.begin(), all.end(), group) == all.end()) return std::nullopt;
  json::Writer w;
  w.begin_object().field("kind", "APIGroup").field("apiVersion", "v1");
  group_fields(w, group);
  w.end_object();
  return Document{w.take()};
}

void legacy_subresource(json::Writer& w, const Resource& r, std::string_view text) {
  Subresource s = read_subresource(text, r);
  w.begin_object()
      .field("name", std::string(r.plural()) + "/" + std::string(s.name))
      .field("singularName", "");
  w.field("namespaced", r.namespaced());
  if (s.group != r.group() || s.version != r.version()) w.field("group", s.group).field("version", s.version);
  w.field("kind", s.kind);
  strings(w, "verbs", s.verbs);
  w.end_object();
}

std::optional<Document> legacy_resources(std::string_view group, std::string_view version) {
  json::Writer w;
  w.begin_object().field("kind", "APIResourceList").field("apiVersion", "v1");
  w.field("groupVersion", api_version(group, version)).key("resources").begin_array();
  bool any = false;
  for (const Resource& r : schema::resources()) {
    if (r.group() != group || r.version() != version) continue;
    any = true;
    if (!r.verbs().empty()) {
      w.begin_object()
          .field("name", r.plural())
          .field("singularName", r.singular())
          .field("namespaced", r.namespaced());
      w.field("kind", r.kind());
      strings(w, "verbs", r.verbs());
      if (!r.short_names().empty()) strings(w, "shortNames", r.short_names());
      if (!r.categories().empty()) strings(w, "categories", r.categories());
      w.end_object();
    }
    for (std::string_view text : r.subresources()) legacy_subresource(w, r, text);
  }
  if (!any) return std::nullopt;
  w.end_array().end_object();
  return Document{w.take()};
}

// The roots offer two forms; the client's order decides.
std::optional<Document> root(bool core, std::string_view accept, bool* not_acceptable) {
  Document legacy = core ? legacy_api() : legacy_groups();
  std::vector<MediaType> wanted = parse_accept(accept);
  if (wanted.empty()) return legacy;
  for (const MediaType& m : wanted) {
    if (m.type != "application/json" && m.type != "*/*" && m.type != "application/*") continue;
    if (m.param("as").empty()) return legacy;
    std::string v(m.param("v"));
    if (m.param("as") == "APIGroupDiscoveryList" && m.param("g") == "apidiscovery.k8s.io" &&
        (v == "v2" || v == "v2beta1")) {
      return aggregated(core, v);
    }
  }
  *not_acceptable = true;
  return std::nullopt;
}

}  // namespace

std::optional<Document> discover(std::string_view path, std::string_view accept, bool* not_acceptable) {
  std::vector<std::string_view> p = split_path(path);
  if (p.empty() || p.size() > 3) return std::nullopt;
  if (p[0] == "api") {
    if (p.size() == 1) return root(true, accept, not_acceptable);
    if (p.size() == 2) return legacy_resources("", p[1]);
    return std::nullopt;
  }
  if (p[0] != "apis") return std::nullopt;
  if (p.size() == 1) return root(false, accept, not_acceptable);
  if (p.size() == 2) return legacy_group(p[1]);
  return legacy_resources(p[1], p[2]);
}

}  // namespace limpet::api

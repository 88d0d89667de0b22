#include "schema/openapi.h"

#include "schema/openapi_document.h"
#include "schema/tables.h"

namespace limpet::schema {

namespace {

using Document = OpenapiDocument;

void info(json::Writer& w) {
  w.key("info").begin_object().field("title", "Kubernetes").field("version", "v1.35.0").end_object();
}

void bearer_token(json::Writer& w) {
  w.begin_object().key("BearerToken").begin_object();
  w.field("type", "apiKey").field("in", "header").field("name", "authorization");
  w.field("description", "A bearer token.").end_object().end_object();
}

}  // namespace

std::string_view openapi_hash() { return tables::hash; }

std::string openapi_v3_index() {
  json::Writer w;
  w.begin_object().key("paths").begin_object();
  std::string_view group = "-", version;
  for (const Resource& r : resources()) {
    if (r.group() == group && r.version() == version) continue;
    group = r.group(), version = r.version();
    const std::string path = group.empty() ? "api/" + std::string(version)
                                           : "apis/" + std::string(group) + "/" + std::string(version);
    w.key(path).begin_object();
    w.field("serverRelativeURL", "/openapi/v3/" + path + "?hash=" + std::string(openapi_hash()));
    w.end_object();
  }
  w.end_object().end_object();
  return w.take();
}

std::string openapi_v3(std::string_view group, std::string_view version) {
  Document d(Document::Version::v3);
  json::Writer& w = d.writer();
  bool any = false;
  w.begin_object().field("openapi", "3.0.0");
  info(w);
  w.key("paths").begin_object();
  for (const Resource& r : resources()) {
    if (r.group() != group || r.version() != version) continue;
    any = true;
    d.resource_paths(r);
  }
  if (!any) return {};
  w.end_object();
  w.key("components").begin_object().key("schemas");
  d.schemas(group, version);
  w.key("securitySchemes");
  bearer_token(w);
  w.end_object().end_object();
  return w.take();
}

std::string openapi_v2() {
  Document d(Document::Version::v2);
  json::Writer& w = d.writer();
  w.begin_object().field("swagger", "2.0");
  info(w);
  w.key("paths").begin_object();
  for (const Resource& r : resources()) d.resource_paths(r);
  w.end_object();
  w.key("definitions");
  d.schemas("", "v1");
  w.key("securityDefinitions");
  bearer_token(w);
  w.end_object();
  return w.take();
}

}  // namespace limpet::schema

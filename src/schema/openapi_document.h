// One OpenAPI document while it is written. Room-internal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "schema/types.h"

namespace limpet::schema {

struct Gvk {
  std::string_view group, version, kind;
};

class OpenapiDocument {
 public:
  enum class Version { v2, v3 };
  explicit OpenapiDocument(Version version) : v2_(version == Version::v2), wanted_(types().size()) {}

  json::Writer& writer() { return w_; }
  bool v2() const { return v2_; }

  // openapi_schemas.cc. ref writes {"$ref":...} and remembers that the document needs the type (and all it
  // reaches).
  void ref(const Type& type);
  void gvk_members(const Gvk& gvk);
  // Every type that was referred to. `group` and `version`: under which DeleteOptions, Status and such are
  // listed.
  void schemas(std::string_view group, std::string_view version);

  // openapi_paths.cc
  void resource_paths(const Resource& resource);

 private:
  struct Operation {
    std::string_view method, action, verb;  // "get", "list", "read"
    Gvk gvk;
    const Type* body = nullptr;    // of the request
    const Type* answer = nullptr;  // of the response; null: text
    bool many = false;             // acts on the collection
    std::string name;              // the end of operationId: "NamespacedPodStatus"
  };

  void want(const Type& type);
  void special_schemas();
  void schema(const Type& type, std::string_view group, std::string_view version);
  void field(const Field& field);
  void field_shape(const Field& field);
  void element(const Field& field, bool described);
  void named(std::string_view name, bool all_of);
  void extensions(const Field& field);

  void path_head(const std::string& path, bool namespaced, bool named);
  void operation(const Resource& resource, const Operation& op);
  void parameters(const Operation& op);
  void parameter(std::string_view name, std::string_view in, std::string_view type, std::string_view doc);
  void request_body(const Operation& op);
  void content(std::string_view media_type, const Type* type);
  void responses(const Operation& op);
  void collection(const Resource& resource, const std::string& path, bool everywhere);
  void item(const Resource& resource, const std::string& path);
  void subresource(const Resource& resource, const std::string& path, std::string_view declared);

  bool v2_;
  json::Writer w_;
  std::vector<bool> wanted_;
};

}  // namespace limpet::schema

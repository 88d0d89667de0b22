// The types of an OpenAPI document.
#include "schema/openapi_document.h"

namespace limpet::schema {

namespace {

constexpr std::string_view kQuantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
constexpr std::string_view kIntOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
constexpr std::string_view kRaw = "io.k8s.apimachinery.pkg.runtime.RawExtension";
constexpr std::string_view kTime = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
constexpr std::string_view kMicroTime = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
constexpr std::string_view kFieldsV1 = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";

// Values that JSON writes as one string or number have schemas of their own, as upstream publishes them.
std::string_view special_name(Scalar scalar) {
  switch (scalar) {
    case Scalar::quantity:
      return kQuantity;
    case Scalar::int_or_string:
      return kIntOrString;
    case Scalar::raw:
      return kRaw;
    case Scalar::time:
      return kTime;
    case Scalar::micro_time:
      return kMicroTime;
    case Scalar::fields_v1:
      return kFieldsV1;
    default:
      return {};
  }
}

struct Primitive {
  std::string_view type, format;
};

Primitive primitive(Scalar scalar) {
  switch (scalar) {
    case Scalar::boolean:
      return {"boolean", ""};
    case Scalar::int32:
      return {"integer", "int32"};
    case Scalar::int64:
      return {"integer", "int64"};
    case Scalar::float64:
      return {"number", "double"};
    case Scalar::bytes:
      return {"string", "byte"};
    default:
      return {"string", ""};
  }
}

std::string_view strategy_name(PatchStrategy s) {
  switch (s) {
    case PatchStrategy::replace:
      return "replace";
    case PatchStrategy::merge:
      return "merge";
    case PatchStrategy::retain_keys:
      return "retainKeys";
    case PatchStrategy::merge_retain_keys:
      return "merge,retainKeys";
    default:
      return {};
  }
}

std::string_view list_type_name(ListType t) {
  switch (t) {
    case ListType::atomic:
      return "atomic";
    case ListType::set:
      return "set";
    case ListType::map:
      return "map";
    default:
      return {};
  }
}

}  // namespace

void OpenapiDocument::want(const Type& type) {
  const auto index = static_cast<size_t>(&type - types().data());
  if (wanted_[index]) return;
  wanted_[index] = true;
  for (const Field& f : type.fields()) {
    if (f.type()) want(*f.type());
  }
}

void OpenapiDocument::ref(const Type& type) {
  want(type);
  w_.begin_object();
  w_.field("$ref", (v2_ ? "#/definitions/" : "#/components/schemas/") + std::string(type.name()));
  w_.end_object();
}

// v3 knows no siblings of $ref, so a described reference stands in allOf.
void OpenapiDocument::named(std::string_view name, bool all_of) {
  const std::string target = (v2_ ? "#/definitions/" : "#/components/schemas/") + std::string(name);
  if (v2_ || !all_of) {
    w_.field("$ref", target);
    return;
  }
  w_.key("allOf").begin_array().begin_object().field("$ref", target).end_object().end_array();
}

void OpenapiDocument::gvk_members(const Gvk& gvk) {
  w_.begin_object()
      .field("group", gvk.group)
      .field("kind", gvk.kind)
      .field("version", gvk.version)
      .end_object();
}

void OpenapiDocument::element(const Field& f, bool described) {
  if (f.type()) return named(f.type()->name(), described);
  if (const std::string_view special = special_name(f.scalar()); !special.empty())
    return named(special, described);
  if (f.scalar() == Scalar::strings) {
    w_.field("type", "array").key("items").begin_object().field("type", "string").end_object();
    return;
  }
  const Primitive p = primitive(f.scalar());
  w_.field("type", p.type);
  if (!p.format.empty()) w_.field("format", p.format);
  const std::string_view values = f.enum_values();
  if (values.empty()) return;
  w_.key("enum").begin_array();
  for (size_t at = 0; at <= values.size();) {
    const size_t comma = std::min(values.find(',', at), values.size());
    w_.string(values.substr(at, comma - at));
    at = comma + 1;
  }
  w_.end_array();
}

void OpenapiDocument::field_shape(const Field& f) {
  if (f.shape() == Shape::single) return element(f, true);
  w_.field("type", f.shape() == Shape::list ? "array" : "object");
  w_.key(f.shape() == Shape::list ? "items" : "additionalProperties").begin_object();
  element(f, false);
  w_.end_object();
}

void OpenapiDocument::extensions(const Field& f) {
  const std::string_view list_type = list_type_name(f.list_type()),
                         strategy = strategy_name(f.patch_strategy());
  if (const std::string_view keys = f.list_map_keys(); !keys.empty()) {
    w_.key("x-kubernetes-list-map-keys").begin_array();
    for (size_t at = 0; at <= keys.size();) {
      const size_t comma = std::min(keys.find(',', at), keys.size());
      w_.string(keys.substr(at, comma - at));
      at = comma + 1;
    }
    w_.end_array();
  }
  if (!list_type.empty()) w_.field("x-kubernetes-list-type", list_type);
  if (f.atomic_map()) w_.field("x-kubernetes-map-type", "atomic");
  if (!f.patch_merge_key().empty()) w_.field("x-kubernetes-patch-merge-key", f.patch_merge_key());
  if (!strategy.empty()) w_.field("x-kubernetes-patch-strategy", strategy);
}

void OpenapiDocument::field(const Field& f) {
  w_.key(f.name()).begin_object();
  w_.field("description", f.doc());
  field_shape(f);
  // v2 has no place for a default beside $ref.
  if (!f.default_json().empty() && !(v2_ && f.type())) w_.key("default").raw(f.default_json());
  extensions(f);
  w_.end_object();
}

void OpenapiDocument::schema(const Type& type, std::string_view group, std::string_view version) {
  w_.key(type.name()).begin_object();
  w_.field("description", type.doc()).field("type", "object");
  if (!type.fields().empty()) {
    w_.key("properties").begin_object();
    for (const Field& f : type.fields()) field(f);
    w_.end_object();
  }
  bool any = false;
  for (const Field& f : type.fields()) {
    if (!f.required()) continue;
    if (!any) w_.key("required").begin_array();
    any = true;
    w_.string(f.name());
  }
  if (any) w_.end_array();
  if (type.is_kind()) {
    const bool shared = type.group() == "meta.k8s.io" && !type.short_name().starts_with("PartialObject");
    const Gvk gvk{shared ? group : type.group(), shared ? version : type.version(), type.short_name()};
    w_.key("x-kubernetes-group-version-kind").begin_array();
    gvk_members(gvk);
    w_.end_array();
  }
  if (type.atomic()) w_.field("x-kubernetes-map-type", "atomic");
  w_.end_object();
}

void OpenapiDocument::special_schemas() {
  const auto open = [&](std::string_view name, std::string_view doc) -> json::Writer& {
    return w_.key(name).begin_object().field("description", doc);
  };
  const auto either = [&](std::string_view a, std::string_view b) {
    w_.key("oneOf").begin_array();
    for (std::string_view t : {a, b}) w_.begin_object().field("type", t).end_object();
    w_.end_array();
  };
  open(kQuantity, "An amount as a fixed-point number with an optional suffix: 500m, 1.5, 128Mi, 2G, 1e3.");
  if (v2_) {
    w_.field("type", "string");
  } else {
    either("string", "number");
  }
  w_.end_object();
  open(kIntOrString, "A whole number, or a string such as a port's name or a percentage.");
  if (v2_) {
    w_.field("type", "string").field("format", "int-or-string");
  } else {
    w_.field("format", "int-or-string");
    either("integer", "string");
  }
  w_.end_object();
  open(kTime, "A point in time as RFC 3339 writes it, in whole seconds.").field("type", "string");
  w_.field("format", "date-time").end_object();
  open(kMicroTime, "A point in time as RFC 3339 writes it, with microseconds.").field("type", "string");
  w_.field("format", "date-time").end_object();
  open(kRaw, "Any JSON object.").field("type", "object").end_object();
  open(kFieldsV1, "A set of field paths as a tree: f:NAME for fields, k:KEYS and v:VALUE for list items.");
  w_.field("type", "object").end_object();
}

void OpenapiDocument::schemas(std::string_view group, std::string_view version) {
  w_.begin_object();
  for (size_t i = 0; i < wanted_.size(); i++) {
    if (wanted_[i]) schema(types()[i], group, version);
  }
  special_schemas();
  w_.end_object();
}

}  // namespace limpet::schema

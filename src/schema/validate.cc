#include "schema/validate.h"

#include "schema/checker.h"

namespace limpet::schema {

std::string_view FieldError::reason() const {
  switch (type) {
    case Type::required:
      return "FieldValueRequired";
    case Type::invalid:
      return "FieldValueInvalid";
    case Type::not_supported:
      return "FieldValueNotSupported";
    case Type::duplicate:
      return "FieldValueDuplicate";
    case Type::forbidden:
      return "FieldValueForbidden";
    case Type::too_long:
      return "FieldValueTooLong";
    case Type::too_many:
      return "FieldValueTooMany";
    case Type::type_invalid:
      return "FieldValueTypeInvalid";
    case Type::not_found:
      return "FieldValueNotFound";
  }
  return "FieldValueInvalid";
}

namespace {

const char* words(FieldError::Type type) {
  switch (type) {
    case FieldError::Type::required:
      return "Required value";
    case FieldError::Type::invalid:
    case FieldError::Type::type_invalid:
      return "Invalid value";
    case FieldError::Type::not_supported:
      return "Unsupported value";
    case FieldError::Type::duplicate:
      return "Duplicate value";
    case FieldError::Type::forbidden:
      return "Forbidden";
    case FieldError::Type::too_long:
      return "Too long";
    case FieldError::Type::too_many:
      return "Too many";
    case FieldError::Type::not_found:
      return "Not found";
  }
  return "Invalid value";
}

// Bad values are echoed to the client; a huge one would help nobody.
std::string shortened(std::string json) {
  constexpr size_t kMost = 16 * 1024;
  if (json.size() > kMost) json = json.substr(0, kMost) + "...";
  return json;
}

// Names of namespaces and the like are labels; other kinds take a subdomain.
MetaRules meta_rules(const Resource& resource) {
  MetaRules rules;
  rules.namespaced = resource.namespaced();
  if (resource.kind() == "Namespace" && resource.group().empty()) rules.name = check_dns1123_label;
  return rules;
}

void check_kind(Checker& c, const Resource& resource, json::Ref object, json::Ref old) {
  const std::string_view kind = resource.kind();
  if (kind == "Event") {
    check_event(c, object, old);
    return;
  }
  if (resource.group() == "apps") {
    if (kind == "Deployment") check_deployment(c, object, old);
    if (kind == "ReplicaSet") check_replica_set(c, object, old);
    return;
  }
  if (!resource.group().empty()) return;
  if (kind == "Pod") {
    if (old) {
      check_pod_update(c, object, old);
    } else {
      check_pod_create(c, object);
    }
  } else if (kind == "ConfigMap") {
    check_config_map(c, object, old);
  } else if (kind == "Secret") {
    check_secret(c, object, old);
  } else if (kind == "Namespace") {
    check_namespace(c, object, old);
  } else if (kind == "ServiceAccount") {
    check_service_account(c, object, old);
  } else if (kind == "Node") {
    check_node(c, object, old);
  }
}

}  // namespace

std::string FieldError::body() const {
  std::string out = words(type);
  if (!bad_value.empty()) out += ": " + bad_value;
  if (!detail.empty()) out += ": " + detail;
  return out;
}

std::string FieldError::message() const { return field + ": " + body(); }

std::string joined(const FieldErrors& errors) {
  if (errors.size() == 1) return errors[0].message();
  std::string out = "[";
  for (const FieldError& e : errors) out += (out.size() > 1 ? ", " : "") + e.message();
  return out + "]";
}

void Checker::required(const Path& p, std::string_view detail) {
  errors.push_back({FieldError::Type::required, p.str(), {}, std::string(detail)});
}
void Checker::invalid(const Path& p, std::string_view value, std::string_view detail) {
  errors.push_back({FieldError::Type::invalid, p.str(), shortened(json::quoted(value)), std::string(detail)});
}
void Checker::invalid(const Path& p, int64_t value, std::string_view detail) {
  errors.push_back({FieldError::Type::invalid, p.str(), std::to_string(value), std::string(detail)});
}
void Checker::invalid(const Path& p, json::Ref value, std::string_view detail) {
  errors.push_back(
      {FieldError::Type::invalid, p.str(), value ? shortened(value.dump()) : "null", std::string(detail)});
}
void Checker::not_supported(const Path& p, std::string_view value,
                            std::initializer_list<std::string_view> supported) {
  std::string detail = "supported values: ";
  bool first = true;
  for (std::string_view s : supported) {
    if (!first) detail += ", ";
    first = false;
    detail += json::quoted(s);
  }
  errors.push_back(
      {FieldError::Type::not_supported, p.str(), shortened(json::quoted(value)), std::move(detail)});
}
void Checker::duplicate(const Path& p, std::string_view value) {
  errors.push_back({FieldError::Type::duplicate, p.str(), shortened(json::quoted(value)), {}});
}
void Checker::forbidden(const Path& p, std::string_view detail) {
  errors.push_back({FieldError::Type::forbidden, p.str(), {}, std::string(detail)});
}
void Checker::too_long(const Path& p, size_t most) {
  errors.push_back(
      {FieldError::Type::too_long, p.str(), {}, "may not be more than " + std::to_string(most) + " bytes"});
}
void Checker::not_found(const Path& p, std::string_view value) {
  errors.push_back({FieldError::Type::not_found, p.str(), shortened(json::quoted(value)), {}});
}
void Checker::by(const Path& p, std::string_view value, const Messages& messages) {
  for (const std::string& m : messages) invalid(p, value, m);
}
void Checker::non_negative(const Path& p, json::Ref value) {
  if (value.integer() < 0) invalid(p, value.integer(), "must be greater than or equal to 0");
}
void Checker::one_of(const Path& p, json::Ref value, std::initializer_list<std::string_view> supported) {
  if (value.str().empty()) {
    required(p);
    return;
  }
  for (std::string_view s : supported) {
    if (value.str() == s) return;
  }
  not_supported(p, value.str(), supported);
}

namespace {
bool empty(json::Ref v) {
  return !v || v.is_null() || (v.is_string() && v.str().empty()) ||
         ((v.is_object() || v.is_array()) && v.size() == 0);
}
}  // namespace

void Checker::immutable(const Path& p, json::Ref now, json::Ref before) {
  if ((empty(now) && empty(before)) || (now && before && now.equals(before))) return;
  invalid(p, now, "field is immutable");
}

FieldErrors validate_create(const Resource& resource, json::Ref object) {
  Checker c;
  check_meta_create(c, object["metadata"], meta_rules(resource));
  check_kind(c, resource, object, json::Ref());
  return std::move(c.errors);
}

FieldErrors validate_update(const Resource& resource, json::Ref object, json::Ref old) {
  Checker c;
  check_meta_update(c, object["metadata"], old["metadata"]);
  check_kind(c, resource, object, old);
  return std::move(c.errors);
}

FieldErrors validate_ephemeral_containers(json::Ref pod) {
  Checker c;
  check_pod_ephemeral(c, pod);
  return std::move(c.errors);
}

FieldErrors validate_status_update(const Resource& resource, json::Ref object, json::Ref old) {
  Checker c;
  check_meta_update(c, object["metadata"], old["metadata"]);
  if (resource.kind() == "Pod" && resource.group().empty()) check_pod_status(c, object, old);
  if (resource.group() == "apps") {
    if (resource.kind() == "Deployment") check_deployment_status(c, object, old);
    if (resource.kind() == "ReplicaSet") check_replica_set_status(c, object);
  }
  return std::move(c.errors);
}

}  // namespace limpet::schema

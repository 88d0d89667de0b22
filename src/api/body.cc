#include "api/body.h"

#include "api/object.h"
#include "base/yaml.h"
#include "schema/codec.h"
#include "schema/protobuf.h"

namespace limpet::api {
namespace {

enum class Form { json, yaml, protobuf };

Outcome<Form> body_form(const http::Request& request) {
  std::string_view header = request.headers.get("Content-Type");
  if (header.empty()) return Form::json;  // some clients send none
  std::optional<MediaType> m = parse_media_type(header);
  if (m && m->type == "application/json") return Form::json;
  if (m && (m->type == "application/yaml" || m->type == "text/yaml" || m->type == "application/x-yaml"))
    return Form::yaml;
  if (m && m->type == "application/vnd.kubernetes.protobuf") return Form::protobuf;
  return std::unexpected(status::unsupported_media_type(kReadTypes));
}

Status unreadable(const std::string& what, const Error& e) {
  if (e.code == Errc::too_large) return status::entity_too_large("Request entity too large: " + e.message);
  return status::bad_request(what + e.message);
}

Outcome<std::string> yaml_to_json(std::string_view text) {
  Result<std::vector<yaml::Node>> docs = yaml::parse(text, {.max_values = 2 * schema::kMaxValues});
  if (!docs) return std::unexpected(unreadable("error converting YAML to JSON: ", docs.error()));
  if (docs->empty()) return std::string("null");
  return yaml::to_json(docs->front()).ref().dump();
}

Outcome<> report(Call& call, FieldValidation mode, const std::vector<std::string>& problems) {
  if (problems.empty() || mode == FieldValidation::ignore) return {};
  if (mode == FieldValidation::strict) {
    return std::unexpected(status::bad_request(schema::strict_decoding_error(problems)));
  }
  for (const std::string& p : problems) call.warn(p);
  return {};
}

// Go's spelling of a failure to decode into a kind.
Status undecodable(std::string_view version, std::string_view kind, const Error& e) {
  std::string k(kind);
  return unreadable(k + " in version \"" + std::string(version) + "\" cannot be handled as a " + k + ": ", e);
}

Outcome<> check_kind(json::Ref object, const std::string& wanted_version, std::string_view kind) {
  if (!object.is_object()) return std::unexpected(status::bad_request("the request body is not an object"));
  std::string_view v = object["apiVersion"].str(), k = object["kind"].str();
  if ((!v.empty() && v != wanted_version) || (!k.empty() && k != kind)) {
    return std::unexpected(status::bad_request("the API version in the data (" + std::string(v) +
                                               ", Kind=" + std::string(k) +
                                               ") does not match the expected API version (" +
                                               wanted_version + ", Kind=" + std::string(kind) + ")"));
  }
  object.set("apiVersion", wanted_version);
  object.set("kind", kind);
  return {};
}

Outcome<schema::Decoded> decode(std::string_view text, Form form, const schema::Type& type,
                                std::string_view version, std::string_view kind) {
  Result<schema::Decoded> d;
  if (form == Form::protobuf) {
    Result<schema::Envelope> envelope = schema::open_envelope(text);
    if (!envelope) return std::unexpected(undecodable(version, kind, envelope.error()));
    Result<json::Value> object = schema::decode_protobuf_object(*envelope, type);
    if (!object) return std::unexpected(undecodable(version, kind, object.error()));
    return schema::Decoded{std::move(*object), {}};
  } else if (form == Form::yaml) {
    Outcome<std::string> converted = yaml_to_json(text);
    if (!converted) return std::unexpected(converted.error());
    d = schema::decode_json(*converted, type);
  } else {
    d = schema::decode_json(text, type);
  }
  if (!d) return std::unexpected(undecodable(version, kind, d.error()));
  return std::move(*d);
}

}  // namespace

Outcome<FieldValidation> field_validation(const http::Query& query) {
  std::string_view v = query.get("fieldValidation");
  if (v.empty() || v == "Warn") return FieldValidation::warn;
  if (v == "Strict") return FieldValidation::strict;
  if (v == "Ignore") return FieldValidation::ignore;
  return std::unexpected(status::invalid("meta.k8s.io", "CreateOptions", "",
                                         {{"FieldValueNotSupported",
                                           "Unsupported value: " + json::quoted(v.substr(0, 64)) +
                                               ": supported values: \"Ignore\", \"Strict\", \"Warn\"",
                                           "fieldValidation"}}));
}

Outcome<json::Value> decode_object(Call& call, const schema::Type& type, std::string_view group,
                                   std::string_view version, std::string_view kind) {
  Outcome<FieldValidation> mode = field_validation(call.query());
  if (!mode) return std::unexpected(mode.error());
  Outcome<Form> form = body_form(call.request());
  if (!form) return std::unexpected(form.error());
  Outcome<schema::Decoded> d = decode(call.request().body, *form, type, version, kind);
  if (!d) return std::unexpected(d.error());
  if (Outcome<> o = check_kind(d->object.ref(), api_version(group, version), kind); !o)
    return std::unexpected(o.error());
  if (Outcome<> o = report(call, *mode, d->problems); !o) return std::unexpected(o.error());
  return std::move(d->object);
}

Outcome<> check_patched(Call& call, const schema::Type& type, json::Value& object) {
  Outcome<FieldValidation> mode = field_validation(call.query());
  if (!mode) return std::unexpected(mode.error());
  std::vector<std::string> problems;
  Result<> r = schema::decode_tree(object.ref(), type, &problems);
  if (!r) {
    return std::unexpected(undecodable(call.resource->version(), call.resource->kind(), r.error()));
  }
  return report(call, *mode, problems);
}

Outcome<json::Value> decode_delete_options(Call& call) {
  if (call.request().body.empty()) return json::Value::object();
  Outcome<Form> form = body_form(call.request());
  if (!form) return std::unexpected(form.error());
  const schema::Type* type = schema::find_type("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  if (!type) return std::unexpected(status::internal("DeleteOptions is not declared"));
  Outcome<schema::Decoded> d = decode(call.request().body, *form, *type, "v1", "DeleteOptions");
  if (!d) return std::unexpected(d.error());
  return std::move(d->object);
}

Outcome<json::Value> parse_tree(std::string_view text, bool yaml, size_t max_values) {
  if (yaml) {
    Result<std::vector<yaml::Node>> docs = yaml::parse(text, {.max_values = 2 * max_values});
    if (!docs) return std::unexpected(unreadable("error decoding YAML: ", docs.error()));
    if (docs->empty()) return std::unexpected(status::bad_request("the request body is empty"));
    return yaml::to_json(docs->front());
  }
  Result<json::Value> v = json::parse(text, {.max_values = max_values});
  if (!v) return std::unexpected(unreadable("error decoding patch: ", v.error()));
  return std::move(*v);
}

}  // namespace limpet::api

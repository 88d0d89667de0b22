// The OpenAPI v2 document in the protobuf form that kubectl asks for.
//
// Definitions come whole: old clients explain and check by them. Of the paths there is what clients look for:
// that the patch of a kind knows dryRun, without which they do not ask for it (`kubectl diff`), and
// fieldValidation, which tells them to leave checking to the server.
//
// Source: https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto
#include "base/json.h"
#include "schema/openapi.h"
#include "schema/protobuf_wire.h"

namespace limpet::schema {
namespace {

using wire::put_bytes;

// Fields of the messages written here, by message.
namespace document {
constexpr uint32_t swagger = 1, info = 2, paths = 8, definitions = 9;
}
namespace named {
constexpr uint32_t name = 1, value = 2;
}
namespace item {
constexpr uint32_t ref = 1, format = 2, description = 4, default_value = 5, required = 19, one_of_values = 20,
                   additional_properties = 21, type = 22, items = 23, properties = 25, extension = 31;
}
constexpr uint32_t yaml_of_any = 2, patch_of_path = 8, path_of_paths = 2;
constexpr uint32_t parameters_of_operation = 8, extension_of_operation = 13;

template <class F>
void message(std::string& out, uint32_t field, F content) {
  const size_t mark = out.size();
  content();
  wire::wrap(out, mark, field);
}

// Any value at all travels as YAML, which JSON is.
void put_any(std::string& out, uint32_t field, json::Cursor value) {
  message(out, field, [&] { put_bytes(out, yaml_of_any, value.raw()); });
}

void put_extension(std::string& out, uint32_t field, std::string_view key, json::Cursor value) {
  message(out, field, [&] {
    put_bytes(out, named::name, key);
    put_any(out, named::value, value);
  });
}

void put_schema(std::string& out, json::Cursor schema);

void put_named_schemas(std::string& out, uint32_t field, json::Cursor schemas) {
  message(out, field, [&] {
    schemas.each([&out](std::string_view key, json::Cursor schema) {
      message(out, 1, [&] {
        put_bytes(out, named::name, key);
        message(out, named::value, [&] { put_schema(out, schema); });
      });
      return true;
    });
  });
}

void put_schema_member(std::string& out, std::string_view key, json::Cursor value) {
  if (key.starts_with("x-")) return put_extension(out, item::extension, key, value);
  if (key == "$ref") return put_bytes(out, item::ref, value.str());
  if (key == "format") return put_bytes(out, item::format, value.str());
  if (key == "description") return put_bytes(out, item::description, value.str());
  if (key == "default") return put_any(out, item::default_value, value);
  if (key == "properties") return put_named_schemas(out, item::properties, value);
  if (key == "type") return message(out, item::type, [&] { put_bytes(out, 1, value.str()); });
  if (key == "items" || key == "additionalProperties") {
    return message(out, key == "items" ? item::items : item::additional_properties,
                   [&] { message(out, 1, [&] { put_schema(out, value); }); });
  }
  const bool required = key == "required";
  if (!required && key != "enum") return;
  value.each([&](std::string_view, json::Cursor one) {
    if (required) {
      put_bytes(out, item::required, one.str());
    } else {
      put_any(out, item::one_of_values, one);
    }
    return true;
  });
}

void put_schema(std::string& out, json::Cursor schema) {
  schema.each([&out](std::string_view key, json::Cursor value) {
    put_schema_member(out, key, value);
    return true;
  });
}

// Parameter, NonBodyParameter, QueryParameterSubSchema: one in the other.
void put_query_parameter(std::string& out, std::string_view name) {
  message(out, parameters_of_operation, [&] {
    message(out, 1, [&] {
      message(out, 2, [&] {
        message(out, 3, [&] {
          put_bytes(out, 2, "query");
          put_bytes(out, 4, name);
          put_bytes(out, 6, "string");
        });
      });
    });
  });
}

void put_path(std::string& out, std::string_view path, json::Cursor patch) {
  constexpr std::string_view gvk = "x-kubernetes-group-version-kind";
  message(out, path_of_paths, [&] {
    put_bytes(out, named::name, path);
    message(out, named::value, [&] {
      message(out, patch_of_path, [&] {
        for (std::string_view name : {"dryRun", "fieldValidation"}) put_query_parameter(out, name);
        put_extension(out, extension_of_operation, gvk, patch[gvk]);
      });
    });
  });
}

}  // namespace

std::string openapi_v2_protobuf() {
  const std::string text = openapi_v2();
  const json::Cursor whole(text);
  std::string out;
  put_bytes(out, document::swagger, whole["swagger"].str());
  message(out, document::info, [&] {
    put_bytes(out, 1, whole["info"]["title"].str());
    put_bytes(out, 2, whole["info"]["version"].str());
  });
  message(out, document::paths, [&] {
    whole["paths"].each([&out](std::string_view path, json::Cursor operations) {
      if (const json::Cursor patch = operations["patch"]) put_path(out, path, patch);
      return true;
    });
  });
  put_named_schemas(out, document::definitions, whole["definitions"]);
  return out;
}

}  // namespace limpet::schema

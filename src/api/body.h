// Request bodies: JSON, YAML or protobuf into the tree of the object being written, checked against its type.
#pragma once

#include <string_view>

#include "api/context.h"
#include "api/status.h"
#include "base/json.h"
#include "schema/types.h"

namespace limpet::api {

inline constexpr std::string_view kReadTypes =
    "application/json, application/yaml, application/vnd.kubernetes.protobuf";

enum class FieldValidation { ignore, warn, strict };
Outcome<FieldValidation> field_validation(const http::Query& query);

// The body as an object of `type`: unknown and repeated fields are an error, a Warning header or dropped, as
// fieldValidation says; numbers and times in their canonical form; kind and apiVersion set and checked.
Outcome<json::Value> decode_object(Call& call, const schema::Type& type, std::string_view group,
                                   std::string_view version, std::string_view kind);
// The same for a tree that a patch made. `strict_paths`: problems are reported as of a patch.
Outcome<> check_patched(Call& call, const schema::Type& type, json::Value& object);

// DeleteOptions: may be absent (an empty tree).
Outcome<json::Value> decode_delete_options(Call& call);

// Just the tree, by content type (patches), of at most so many values.
Outcome<json::Value> parse_tree(std::string_view text, bool yaml, size_t max_values);

}  // namespace limpet::api

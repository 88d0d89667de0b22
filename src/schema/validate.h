// Validation of whole objects, in Kubernetes' words: what a user of kubectl reads after a mistake.
//
// Objects come in decoded and defaulted (schema/decode.h); what the tables can check (types, unknown fields)
// has been checked. One file per kind; a kind without its own rules gets those of its metadata. Pure; linear
// in the object.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "schema/types.h"

namespace limpet::schema {

struct FieldError {
  enum class Type : uint8_t {
    required,
    invalid,
    not_supported,
    duplicate,
    forbidden,
    too_long,
    too_many,
    type_invalid,
    not_found
  };
  Type type;
  std::string field;      // "spec.containers[0].name"
  std::string bad_value;  // as JSON; empty when it is not shown
  std::string detail;

  std::string_view reason() const;  // of the Status cause: "FieldValueRequired"
  std::string body() const;         // `Invalid value: "X": must be ...`: the message of the Status cause
  std::string message() const;      // with the field in front
};
using FieldErrors = std::vector<FieldError>;

// "a: Required value", or "[a: Required value, b: ...]": what follows `Pod "x" is invalid: `.
std::string joined(const FieldErrors& errors);

FieldErrors validate_create(const Resource& resource, json::Ref object);
// A write to the main resource: its own rules and what may not change. Server-set metadata that is absent
// from `object` is taken from `old` by the caller beforehand, as for any update.
FieldErrors validate_update(const Resource& resource, json::Ref object, json::Ref old);
// The pod's spec as a whole, after ephemeral containers were added to it.
FieldErrors validate_ephemeral_containers(json::Ref pod);
FieldErrors validate_status_update(const Resource& resource, json::Ref object, json::Ref old);

}  // namespace limpet::schema

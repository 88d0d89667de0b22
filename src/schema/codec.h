// Objects of the API on their way in and out: strict decoding of JSON, defaulting, and the canonical bytes
// that are stored. What clients may send as protobuf is in protobuf.h.
//
// The way of a write: decode_json (or decode_protobuf) -> apply_defaults -> validation -> encode_canonical.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "schema/types.h"

namespace limpet::schema {

// What a body may hold in all, and an object that is stored: objects, lists and what is in them. The largest
// definitions of custom resources have some 20,000; each costs a small device some hundred bytes while an
// object is made, several times over.
inline constexpr size_t kMaxValues = 40'000;

struct Decoded {
  json::Value object;
  // What fieldValidation=Strict refuses and Warn reports, in Kubernetes' words: `unknown field "spec.foo"`,
  // `duplicate field "spec.x"`. At most 100.
  std::vector<std::string> problems;
};

// Reads a body as an object of the type. Fields that the type does not know are dropped. The error of a value
// of the wrong JSON type names the struct, the path and the type, as Go's decoder does; beyond kMaxValues it
// is too_large.
Result<Decoded> decode_json(std::string_view text, const Type& type);

// The same for a tree (a patched object, for example), in place. The object then holds nothing but fields of
// the type in their canonical spelling: nulls, empty lists and maps, and zeros of fields whose absence means
// zero are gone; quantities and times are normalised.
Result<> decode_tree(json::Ref object, const Type& type, std::vector<std::string>* problems = nullptr);

// "strict decoding error: unknown field ..., unknown field ...": the message of the 400 that Strict gives.
std::string strict_decoding_error(const std::vector<std::string>& problems);

// Compact JSON: fields in the order of the schema (apiVersion, kind, metadata first), map keys sorted. Two
// objects with the same content have the same bytes.
std::string encode_canonical(json::Ref object, const Type& type);

// Defaults of the schema files and of the kind, as upstream applies them to every object that comes in
// (create, update, patch). Idempotent.
void apply_defaults(json::Ref object, const Type& type);
// What a kind's strategy adds at creation only: a namespace's finalizer, a pod's first status.
void apply_create_defaults(json::Ref object, const Type& type);

// "Guaranteed", "Burstable" or "BestEffort", from cpu and memory of all containers.
// Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
std::string_view pod_qos_class(json::Ref pod);

}  // namespace limpet::schema

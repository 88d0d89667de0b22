// The generated description of every API type: what a field is called, its number, shape, default and documentation.
//
// src/schema/api/*.yaml declares each type once; src/schema/generate.py turns the files into these tables at build time.
// Tables hold no pointers (offsets into one string pool, indexes of types), so that they are shared, read-only pages
// without relocations. Everything else of the room (strict decoding, defaulting, protobuf, patches, OpenAPI, columns)
// walks them. Immutable, alive for the whole process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace limpet::schema {

// What one value of a field is.
enum class Scalar : uint8_t {
  string,
  boolean,
  int32,
  int64,
  float64,
  bytes,          // base64 in JSON
  quantity,       // resource.Quantity: string (or number) in JSON, {1: string} in protobuf
  int_or_string,  // {1: type, 2: int, 3: string}
  time,           // metav1.Time: RFC 3339, {1: seconds, 2: nanos}
  micro_time,     // metav1.MicroTime
  duration,       // metav1.Duration: "1m0s" in JSON, {1: nanoseconds}
  object,         // a Type
  raw,            // any JSON: RawExtension {1: bytes}
  fields_v1,      // metav1.FieldsV1: any JSON object, {1: bytes}
};

enum class Shape : uint8_t { single, list, map };  // map keys are strings

// x-kubernetes-patch-strategy
enum class PatchStrategy : uint8_t { none, replace, merge, retain_keys, merge_retain_keys };
// x-kubernetes-list-type
enum class ListType : uint8_t { none, atomic, set, map };

class Type;

class Field {
 public:
  std::string_view name() const;           // JSON name
  uint16_t number() const;                 // protobuf
  Scalar scalar() const;                   // of the value, list item or map value
  Shape shape() const;
  const Type* type() const;                // of Scalar::object, else null
  bool required() const;                   // must be present (OpenAPI `required`)
  bool pointer() const;                    // optional with meaningful presence (a Go pointer)
  PatchStrategy patch_strategy() const;
  std::string_view patch_merge_key() const;
  ListType list_type() const;
  // Of ListType::map: the keys of an item, comma-separated ("containerPort,protocol").
  std::string_view list_map_keys() const;
  bool atomic_map() const;                 // x-kubernetes-map-type: atomic (objects and maps)
  std::string_view default_json() const;   // a JSON value, empty when none
  std::string_view enum_values() const;    // allowed strings, comma-separated, empty when open
  std::string_view doc() const;

  // Filled by the generator only.
  uint32_t name_, default_, enum_, doc_, merge_key_, map_keys_;
  uint16_t number_, type_;
  Scalar scalar_;
  Shape shape_;
  PatchStrategy patch_;
  ListType list_;
  uint8_t flags_;
};

class Type {
 public:
  std::string_view name() const;  // OpenAPI name: "io.k8s.api.core.v1.Pod"
  std::string_view doc() const;
  std::span<const Field> fields() const;  // in the order of the schema file, which is that of output
  const Field* find(std::string_view json_name) const;
  const Field* find(uint16_t number) const;
  bool atomic() const;  // the struct is x-kubernetes-map-type: atomic
  // The type is declared but has no fields of its own to check (an arbitrary JSON object).
  bool open() const;

  uint32_t name_, doc_;
  uint32_t first_field_;
  uint16_t field_count_;
  uint8_t flags_;
};

const Type* find_type(std::string_view openapi_name);

// Where objects of a kind are kept: in the replicated store, in the leader's memory, or nowhere (reviews, bindings).
enum class Storage : uint8_t { durable, transient, none };

struct Column {
  std::string_view name, type, format, doc;
  int priority;  // > 0: only with -o wide
};

// One resource of the API: a kind at an address.
class Resource {
 public:
  std::string_view group() const;    // "" for core
  std::string_view version() const;  // "v1"
  std::string_view plural() const;   // "pods"
  std::string_view singular() const;
  std::string_view kind() const;
  std::span<const std::string_view> short_names() const;
  std::span<const std::string_view> categories() const;
  std::span<const std::string_view> verbs() const;         // of the main resource; empty: only subresources exist
  // Subresources as "name=Kind[.version.group]:verb,verb", for discovery ("status=Pod:get,patch,update").
  std::span<const std::string_view> subresources() const;
  std::span<const Column> columns() const;                 // after NAME and before AGE are included as declared
  std::span<const std::string_view> selectable_fields() const;  // beyond metadata.name and metadata.namespace
  bool namespaced() const;
  Storage storage() const;
  const Type* type() const;

  struct Data;
  const Data* data_;
};

std::span<const Resource> resources();
const Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural);
const Resource* find_kind(std::string_view group, std::string_view version, std::string_view kind);

}  // namespace limpet::schema

// The generated description of every API type: what a field is called, its number, shape, default and
// documentation.
//
// src/schema/api/*.yaml declares each type once; src/schema/generate.py turns the files into these tables at
// build time. Tables hold no pointers (offsets into one string pool, indexes of types), so that they are
// shared, read-only pages without relocations. Everything else of the room (strict decoding, defaulting,
// protobuf, patches, OpenAPI, columns) walks them. Immutable, alive for the whole process. Documentation
// stands apart, in pages that only OpenAPI touches.
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
  object,         // a Type
  raw,            // any JSON: RawExtension {1: bytes}
  fields_v1,      // metav1.FieldsV1: any JSON object, {1: bytes}
  strings,        // a list of strings in JSON, {1: repeated string} in protobuf (ExtraValue, Verbs)
};

enum class Shape : uint8_t { single, list, map };  // map keys are strings

// x-kubernetes-patch-strategy
enum class PatchStrategy : uint8_t { none, replace, merge, retain_keys, merge_retain_keys };
// x-kubernetes-list-type
enum class ListType : uint8_t { none, atomic, set, map };

class Type;

// A run of strings in the pool: a range of string_views.
class StringList {
 public:
  explicit StringList(const char* data) : data_(data) {}
  class Iterator {
   public:
    Iterator(const char* at, size_t left) : at_(at), left_(left) {}
    std::string_view operator*() const;
    Iterator& operator++();
    bool operator!=(const Iterator& o) const { return left_ != o.left_; }

   private:
    const char* at_;
    size_t left_;
  };
  size_t size() const;
  bool empty() const { return size() == 0; }
  Iterator begin() const { return {data_ + 2, size()}; }
  Iterator end() const { return {data_, 0}; }
  bool contains(std::string_view text) const;

 private:
  const char* data_;
};

class Field {
 public:
  std::string_view name() const;  // JSON name
  // The protobuf number; 0 for apiVersion and kind, which protobuf carries in its envelope, and for fields of
  // types that are never protobuf (Table).
  uint16_t number() const { return number_; }
  // A field that Go structs inline in JSON but protobuf nests: the number of the message around it, else 0.
  // (Volume.emptyDir is number 2 of message 2 of Volume.)
  uint8_t outer() const { return outer_; }
  Scalar scalar() const { return scalar_; }  // of the value, list item or map value
  Shape shape() const { return shape_; }
  const Type* type() const;                     // of Scalar::object, else null
  bool required() const { return flags_ & 1; }  // must be present (OpenAPI `required`)
  bool pointer() const { return flags_ & 2; }   // optional with meaningful presence (a Go pointer)
  PatchStrategy patch_strategy() const { return patch_; }
  std::string_view patch_merge_key() const;
  ListType list_type() const { return list_; }
  // Of ListType::map: the keys of an item, comma-separated ("containerPort,protocol").
  std::string_view list_map_keys() const;
  bool atomic_map() const { return flags_ & 4; }  // x-kubernetes-map-type: atomic (objects and maps)
  std::string_view default_json() const;          // a JSON value, empty when none
  std::string_view enum_values() const;           // allowed strings, comma-separated, empty when open
  std::string_view doc() const;

  // Filled by the generator only.
  uint32_t name_;
  uint16_t number_, type_, extra_;
  Scalar scalar_;
  Shape shape_;
  PatchStrategy patch_;
  ListType list_;
  uint8_t flags_, outer_;
};

class Type {
 public:
  std::string_view name() const;        // OpenAPI name: "io.k8s.api.core.v1.Pod"
  std::string_view short_name() const;  // "Pod"
  std::string_view group() const;       // "" for core, "meta.k8s.io" for the types of every group
  std::string_view version() const;
  std::string_view doc() const;
  std::span<const Field> fields() const;  // in the order of the schema file, which is that of output
  const Field* find(std::string_view json_name) const;
  const Field* find(uint16_t number, uint8_t outer = 0) const;
  bool atomic() const { return flags_ & 1; }  // the struct is x-kubernetes-map-type: atomic
  // The type is declared but has no fields of its own to check (an arbitrary JSON object).
  bool open() const { return flags_ & 2; }
  // An object of its own, with apiVersion and kind as its first fields.
  bool is_kind() const { return flags_ & 4; }

  uint32_t name_;
  uint32_t first_field_;
  uint16_t field_count_;
  uint8_t flags_;
};

const Type* find_type(std::string_view openapi_name);
// The type of an object by its apiVersion ("v1", "policy/v1") and kind. DeleteOptions, Status and the like
// are known under every group's version. Null when there is none.
const Type* find_kind_type(std::string_view api_version, std::string_view kind);
std::span<const Type> types();  // by name
// The documentation's pages may go from memory again (they come back from the file when read).
void release_docs();

// Where objects of a kind are kept: in the replicated store, in the leader's memory, or nowhere (reviews,
// bindings).
enum class Storage : uint8_t { durable, transient, none };

class Column {
 public:
  std::string_view name() const;
  std::string_view type() const;
  std::string_view format() const;
  std::string_view doc() const;
  int priority() const { return priority_; }  // > 0: only with -o wide

  uint32_t name_, type_, format_, doc_;
  int32_t priority_;
};

// One resource of the API: a kind at an address.
class Resource {
 public:
  std::string_view group() const;    // "" for core
  std::string_view version() const;  // "v1"
  std::string_view plural() const;   // "pods"
  std::string_view singular() const;
  std::string_view kind() const;
  StringList short_names() const;
  StringList categories() const;
  StringList verbs() const;  // of the main resource; empty: only subresources exist
  // Subresources as "name=Kind[.version.group]:verb,verb", for discovery ("status=Pod:get,patch,update").
  StringList subresources() const;
  std::span<const Column> columns() const;  // all of them, NAME and AGE included, in order
  StringList selectable_fields() const;     // beyond metadata.name and metadata.namespace
  bool namespaced() const { return namespaced_; }
  Storage storage() const { return storage_; }
  const Type* type() const;
  const Type* list_type() const;  // null when the kind cannot be listed

  uint32_t group_, version_, plural_, singular_, kind_, short_names_, categories_, verbs_, subresources_,
      selectable_;
  uint16_t type_, first_column_, column_count_;
  Storage storage_;
  bool namespaced_;
};

std::span<const Resource> resources();  // by group, version and plural
const Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural);
const Resource* find_kind(std::string_view group, std::string_view version, std::string_view kind);

}  // namespace limpet::schema

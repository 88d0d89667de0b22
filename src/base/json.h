// JSON: one validating reader for bytes from outside, a cJSON tree for the object that is being written, and
// a writer. cJSON alone truncates, rounds and forgives; nothing here hands it text that was not validated.
//
// Rules (RFC 8259, plus what Kubernetes asks): valid UTF-8, no NUL (`\u0000`), strict number grammar, nesting
// at most 64, nothing after the value, duplicate keys are an error (or reported, for fieldValidation=Warn). A
// number that a double cannot hold exactly (an int64 beyond 2^53) is kept as text. Key lookups are
// case-sensitive.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct cJSON;

namespace limpet::json {

struct Limits {
  int max_depth = 64;
  bool allow_duplicates = false;  // the last one wins, as in Go; duplicates() tells which
  size_t max_values = SIZE_MAX;  // objects, arrays and what is in them; a tree takes a hundred bytes for each
};

// Checks a whole text. The error says what and at which byte.
Result<> validate(std::string_view text, const Limits& limits = {});

// ---- tree
// -----------------------------------------------------------------------------------------------------

class Ref;

// Owns a tree. Move-only; clone() copies.
class Value {
 public:
  Value() = default;
  explicit Value(cJSON* node) : node_(node) {}
  Value(Value&& o) noexcept : node_(std::exchange(o.node_, nullptr)) {}
  Value& operator=(Value&& o) noexcept;
  ~Value();

  static Value object();
  static Value array();
  static Value string(std::string_view s);
  static Value number(int64_t n);  // exact for every int64
  static Value real(double d);
  static Value boolean(bool b);
  static Value null();

  Ref ref() const;
  operator Ref() const;  // NOLINT: a Value is used wherever a Ref is
  Ref operator->() const = delete;
  explicit operator bool() const { return node_ != nullptr; }
  Value clone() const;
  cJSON* get() const { return node_; }
  [[nodiscard]] cJSON* release() { return std::exchange(node_, nullptr); }

 private:
  cJSON* node_ = nullptr;
};

enum class Type { missing, null, boolean, number, string, array, object };

// Borrows a node of a tree (or no node: `missing`). Copying is free; reading a missing node gives defaults,
// so that obj["spec"]["nodeName"].str() needs no checks on the way.
class Ref {
 public:
  Ref() = default;
  explicit Ref(cJSON* node) : node_(node) {}

  Type type() const;
  explicit operator bool() const { return node_ != nullptr; }
  bool is_object() const { return type() == Type::object; }
  bool is_array() const { return type() == Type::array; }
  bool is_string() const { return type() == Type::string; }
  bool is_number() const { return type() == Type::number; }
  bool is_null() const { return type() == Type::null; }

  Ref operator[](std::string_view key) const;  // missing when absent or not an object
  Ref at(size_t index) const;
  size_t size() const;  // entries of an array or object, else 0

  std::string_view str(std::string_view otherwise = {}) const;  // of a string node
  bool boolean(bool otherwise = false) const;
  int64_t integer(int64_t otherwise = 0) const;  // exact; `otherwise` for non-integers and out of range
  std::optional<int64_t> exact_integer() const;  // nullopt unless an integral number in range
  double real(double otherwise = 0) const;
  std::string_view key() const;  // the name under which this node hangs in its object
  bool equals(Ref other) const;  // deep; object member order does not matter

  // Iteration in document order: for (Ref item : ref) ...
  class Iterator {
   public:
    explicit Iterator(cJSON* n) : n_(n) {}
    Ref operator*() const { return Ref(n_); }
    Iterator& operator++();
    bool operator!=(const Iterator& o) const { return n_ != o.n_; }

   private:
    cJSON* n_;
  };
  Iterator begin() const;
  Iterator end() const { return Iterator(nullptr); }

  // Mutation (of a node whose tree the caller owns). set replaces or adds; returns the node now in the tree.
  Ref set(std::string_view key, Value value);
  Ref set(std::string_view key, std::string_view s) { return set(key, Value::string(s)); }
  Ref set(std::string_view key, const char* s) { return set(key, Value::string(s)); }
  Ref set(std::string_view key, const std::string& s) { return set(key, Value::string(s)); }
  Ref set(std::string_view key, int64_t n) { return set(key, Value::number(n)); }
  Ref set(std::string_view key, int n) { return set(key, Value::number(n)); }
  Ref set(std::string_view key, bool b) { return set(key, Value::boolean(b)); }
  // Like set for a key that is known to be absent: does not search, so that building a large map stays
  // linear.
  Ref add(std::string_view key, Value value);
  Ref ensure_object(std::string_view key);  // the object under key, made if absent or of another type
  Ref ensure_array(std::string_view key);
  bool remove(std::string_view key);
  Value take(std::string_view key);  // detached, empty when absent
  Ref push(Value value);             // to an array
  Ref insert(size_t index, Value value);
  bool remove_at(size_t index);
  Value take_at(size_t index);
  Ref replace_at(size_t index, Value value);

  Value clone() const;
  std::string dump() const;    // compact
  std::string pretty() const;  // two spaces
  cJSON* get() const { return node_; }

 private:
  cJSON* node_ = nullptr;
};

// Parses and validates. With allow_duplicates the paths of repeated keys go to *duplicates (if given), for
// example `spec.containers[0].name`, in document order.
Result<Value> parse(std::string_view text, const Limits& limits = {},
                    std::vector<std::string>* duplicates = nullptr);

// Values in a tree, as Limits::max_values counts them; what is beyond `limit` is not counted to the end.
size_t count_values(Ref tree, size_t limit);

// ---- streaming reader
// -------------------------------------------------------------------------------------------

// Reads stored bytes without a tree: a cursor over text that was validated when it came in. Bytes that are
// not valid JSON after all give `missing` values, never a read outside the text.
//
//   json::Cursor pod(bytes);  pod["spec"]["nodeName"].str()
class Cursor {
 public:
  Cursor() = default;
  explicit Cursor(std::string_view text);  // text of exactly one value

  Type type() const;
  explicit operator bool() const { return !text_.empty(); }
  std::string_view raw() const { return text_; }  // the value's own bytes
  Cursor operator[](std::string_view key) const;  // linear scan of this object
  Cursor at(size_t index) const;
  std::string str(std::string_view otherwise = {}) const;  // unescaped
  bool str_equals(std::string_view s) const;               // without allocating in the common case
  bool boolean(bool otherwise = false) const;
  int64_t integer(int64_t otherwise = 0) const;
  double real(double otherwise = 0) const;
  size_t size() const;
  // Calls f for each entry until it returns false. For arrays the key is empty.
  void each(const std::function<bool(std::string_view key, Cursor value)>& f) const;

 private:
  std::string_view text_;
};

// ---- writer
// -----------------------------------------------------------------------------------------------------

void append_quoted(std::string& out,
                   std::string_view s);  // with quotes and escapes; invalid UTF-8 becomes U+FFFD
std::string quoted(std::string_view s);

// Builds compact JSON text in order; commas are put by itself.
class Writer {
 public:
  Writer& begin_object();
  Writer& end_object();
  Writer& begin_array();
  Writer& end_array();
  Writer& key(std::string_view k);
  Writer& string(std::string_view s);
  Writer& number(int64_t n);
  Writer& real(double d);
  Writer& boolean(bool b);
  Writer& null();
  Writer& raw(std::string_view json);  // an already valid value
  // key and value at once
  Writer& field(std::string_view k, std::string_view s) { return key(k).string(s); }
  Writer& field(std::string_view k, const char* s) { return key(k).string(s); }
  Writer& field(std::string_view k, int64_t n) { return key(k).number(n); }
  Writer& field(std::string_view k, int n) { return key(k).number(n); }
  Writer& field(std::string_view k, bool b) { return key(k).boolean(b); }
  std::string& text() { return out_; }
  std::string take() { return std::move(out_); }

 private:
  void comma();
  std::string out_;
  bool need_comma_ = false;
};

}  // namespace limpet::json

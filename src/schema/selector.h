// Label and field selectors: parsed once per request, then matched against stored bytes without building
// trees.
//
// Grammar of the string forms: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and
// .../field-selectors/. Parsing is strict; errors carry upstream's words and the byte where parsing stopped.
// Immutable after parsing, freely copied.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace limpet::schema {

class Type;

class LabelSelector {
 public:
  enum class Op : uint8_t {
    in,
    not_in,
    equals,
    double_equals,
    not_equals,
    exists,
    not_exists,
    greater,
    less
  };
  struct Requirement {
    std::string key;
    Op op;
    std::vector<std::string> values;  // sorted, distinct
    bool matches(bool present, std::string_view value) const;
  };

  // At most 64 KiB of text. "" selects everything.
  static Result<LabelSelector> parse(std::string_view text);
  // The object form (matchLabels, matchExpressions). A missing or null object selects nothing, an empty one
  // everything.
  static Result<LabelSelector> from_object(json::Ref selector);
  static Result<LabelSelector> from_object(json::Cursor selector);
  // The plain map of Services and ReplicationControllers: every pair must be there. An empty map selects
  // nothing.
  static LabelSelector from_map(json::Cursor map);

  bool empty() const { return requirements_.empty() && !nothing_; }  // selects everything
  bool matches_labels(json::Cursor labels) const;
  bool matches_labels(json::Ref labels) const;
  bool matches(json::Cursor object) const { return empty() || matches_labels(object["metadata"]["labels"]); }
  std::string str() const;  // canonical text, requirements by key
  std::span<const Requirement> requirements() const { return requirements_; }

 private:
  void sort();
  bool nothing_ = false;
  std::vector<Requirement> requirements_;
};

class FieldSelector {
 public:
  struct Requirement {
    std::string field;  // "spec.nodeName"
    std::string value;
    std::string otherwise;  // what an absent field reads as: "" or "false" or "0"
    bool equal;
    bool matches(json::Cursor object) const;
  };

  // `selectable` are the fields of the resource beyond metadata.name and metadata.namespace; `type` (may be
  // null) tells what an absent field reads as.
  static Result<FieldSelector> parse(std::string_view text, std::span<const std::string_view> selectable,
                                     const Type* type);

  bool empty() const { return requirements_.empty(); }
  bool matches(json::Cursor object) const;
  // The value that the field must have, when the selector says so ("metadata.name=x": a get, not a list).
  std::optional<std::string_view> exact(std::string_view field) const;
  std::span<const Requirement> requirements() const { return requirements_; }

 private:
  std::vector<Requirement> requirements_;
};

}  // namespace limpet::schema

// YAML by libyaml, as a tree that knows where each node stands, so that a message can name file, line and
// column.
//
// Used for configuration, manifests of the device, apply-patch bodies and the schema generator. Nesting at
// most 64; anchors and aliases are refused unless allowed (API bodies never allow them: alias bombs); tags
// other than the core schema's are refused; duplicate keys are an error.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace limpet::yaml {

struct Options {
  int max_depth = 64;
  size_t max_documents = 1;
  size_t max_values = SIZE_MAX;  // keys count, too; beyond is too_large
};

struct Member;

struct Node {
  enum class Kind { null, boolean, number, string, sequence, mapping };
  Kind kind = Kind::null;
  std::string scalar;  // text as written, unquoted
  std::vector<Node> items;
  std::vector<Member> members;  // in order
  int line = 0;                 // from 1
  int column = 0;               // from 1

  const Node* find(std::string_view key) const;
};

struct Member {
  Node first, second;  // key (a scalar) and value
};

// All documents of the text. Errors say "line L, column C: ...". An empty document is a null node.
Result<std::vector<Node>> parse(std::string_view text, const Options& options = {});

// YAML 1.1 booleans (yes/no/on/off) are strings here, as in Kubernetes' reader of YAML 1.2 core scalars they
// would surprise; only true/false are booleans.
json::Value to_json(const Node& node);

// Block style, stable order, strings quoted where another reader might take them for something else.
std::string dump(json::Ref value);

}  // namespace limpet::yaml

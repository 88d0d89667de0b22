// Sets of field paths, as managedFields keep them (FieldsV1), and the walks over objects that make and use
// them.
//
// A path element is written as FieldsV1 writes it: "f:name" a field or map key, `k:{"name":"a"}` a list item
// by its keys, `v:"x"` an item of a set. Maps sort them as upstream does.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "schema/types.h"

namespace limpet::schema {

struct FieldSet {
  bool member = false;  // the path that leads here is in the set
  std::map<std::string, FieldSet, std::less<>> children;

  bool empty() const { return !member && children.empty(); }
  bool operator==(const FieldSet& o) const { return member == o.member && children == o.children; }
  void add(const FieldSet& other);  // union
  void add(FieldSet&& other);
  void subtract(const FieldSet& other);  // exact paths
  void intersect(const FieldSet& other);
  std::string json() const;  // FieldsV1
  // Every member as people read it: `.spec.containers[name="a"].image`.
  std::vector<std::string> paths() const;
};

// False: not FieldsV1. Depth and size are bounded by the parser that made the tree.
bool parse_field_set(json::Ref fields_v1, FieldSet& out);

struct Difference {
  FieldSet removed, modified, added;
};

// Objects here come without metadata.managedFields. An error says which list item lacks its keys, or is there
// twice.
Result<FieldSet> field_set_of(const Type& type, json::Ref object);
Difference compare(const Type& type, json::Ref before, json::Ref after);
// Lays `applied` over `target`.
void merge_applied(const Type& type, json::Ref target, json::Ref applied);
// Removes from `object` what `last` named and nobody in `owned` does any more.
void prune(const Type& type, json::Ref object, const FieldSet& last, const FieldSet& owned);

}  // namespace limpet::schema

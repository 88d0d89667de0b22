// Canonical bytes: one walk over the tables, not over the tree, so that the order is that of the schema.
#include <algorithm>

#include "schema/codec.h"

namespace limpet::schema {

namespace {

using json::Ref;

void put_object(std::string& out, Ref node, const Type& type);

void put_element(std::string& out, Ref node, const Field& field) {
  if (field.scalar() == Scalar::object && node.is_object()) {
    put_object(out, node, *field.type());
  } else {
    out += node.dump();
  }
}

void put_map(std::string& out, Ref node, const Field& field) {
  std::vector<Ref> entries;
  for (Ref entry : node) entries.push_back(entry);
  std::ranges::sort(entries, {}, [](Ref r) { return r.key(); });
  out += '{';
  bool first = true;
  for (Ref entry : entries) {
    if (!first) out += ',';
    first = false;
    json::append_quoted(out, entry.key());
    out += ':';
    put_element(out, entry, field);
  }
  out += '}';
}

void put_field(std::string& out, Ref node, const Field& field) {
  if (field.shape() == Shape::map && node.is_object()) return put_map(out, node, field);
  if (field.shape() != Shape::list || !node.is_array()) return put_element(out, node, field);
  out += '[';
  bool first = true;
  for (Ref item : node) {
    if (!first) out += ',';
    first = false;
    put_element(out, item, field);
  }
  out += ']';
}

void put_object(std::string& out, Ref node, const Type& type) {
  if (type.open()) {
    out += node.dump();
    return;
  }
  out += '{';
  bool first = true;
  for (const Field& field : type.fields()) {
    const Ref value = node[field.name()];
    if (!value || value.is_null()) continue;
    if (!first) out += ',';
    first = false;
    json::append_quoted(out, field.name());
    out += ':';
    put_field(out, value, field);
  }
  out += '}';
}

}  // namespace

std::string encode_canonical(Ref object, const Type& type) {
  std::string out;
  if (object.is_object()) {
    put_object(out, object, type);
  } else {
    out = object.dump();
  }
  return out;
}

}  // namespace limpet::schema

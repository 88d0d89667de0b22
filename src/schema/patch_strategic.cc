#include "schema/patch_strategic.h"

#include <cjson/cJSON.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "schema/members.h"

namespace limpet::schema {

namespace {

using json::Ref;
using json::Value;
using List = std::vector<Value>;

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFrom = "$deleteFromPrimitiveList";
constexpr std::string_view kSetOrder = "$setElementOrder";

// What the schema says of the node at hand: a struct, the values of a map, or nothing (free-form JSON).
struct Scope {
  const Type* type = nullptr;
  const Field* map = nullptr;
};

struct Child {
  Scope scope;  // of the member, or of its list items
  PatchStrategy strategy = PatchStrategy::none;
  std::string merge_key;
  bool merges_list() const {
    return strategy == PatchStrategy::merge || strategy == PatchStrategy::merge_retain_keys;
  }
};

Result<> merge_object(Ref original, Ref patch, Scope scope);
Result<List> merge_list(List original, List patch, const Child& child, bool deletes);

std::unexpected<Error> bad(std::string message) { return fail(Errc::invalid_argument, std::move(message)); }

// Values in error messages, in the form users know from upstream: map[a:1 b:[x y]].
std::string in_words(Ref v) {
  if (v.is_object()) {
    std::vector<std::pair<std::string, Ref>> members;
    for (Ref m : v) members.emplace_back(m.key(), m);
    std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string out = "map[";
    for (const auto& [key, value] : members) {
      if (out.back() != '[') out += ' ';
      out += key + ":" + in_words(value);
    }
    return out + "]";
  }
  if (v.is_array()) {
    std::string out = "[";
    for (Ref item : v) {
      if (out.size() > 1) out += ' ';
      out += in_words(item);
    }
    return out + "]";
  }
  return v.is_string() ? std::string(v.str()) : (v.is_null() ? "<nil>" : v.dump());
}

std::string kind_name(Ref v) {
  switch (v.type()) {
    case json::Type::object:
      return "map[string]interface {}";
    case json::Type::array:
      return "[]interface {}";
    case json::Type::string:
      return "string";
    case json::Type::boolean:
      return "bool";
    case json::Type::number:
      return v.exact_integer() ? "int64" : "float64";
    default:
      return "%!s(<nil>)";
  }
}

std::unexpected<Error> bad_kind(const char* expected, Ref actual) {
  return bad(std::string("expected a ") + expected + ", but received a " + kind_name(actual));
}

std::unexpected<Error> no_merge_key(Ref item, const std::string& key) {
  return bad("map: " + in_words(item) + " does not contain declared merge key: " + key);
}

Result<Child> child_of(Scope scope, std::string_view key) {
  Child child;
  const Field* field = scope.map;
  if (scope.type != nullptr) {
    field = scope.type->find(key);
    if (field == nullptr) {
      if (scope.type->open()) return child;
      const std::string_view name = scope.type->name();
      return bad("unable to find api field in struct " + std::string(name.substr(name.rfind('.') + 1)) +
                 " for the json field " + json::quoted(key));
    }
    child.strategy = field->patch_strategy();
    child.merge_key = field->patch_merge_key();
    if (field->shape() == Shape::map) {
      child.scope.map = field;
      return child;
    }
  }
  if (field != nullptr && field->scalar() == Scalar::object) child.scope.type = field->type();
  return child;
}

// Identity of a list item: the value of its merge key, or the item itself. The JSON text keeps 1 and "1"
// apart.
std::string identity(Ref item, const std::string& merge_key) {
  return merge_key.empty() ? item.dump() : item[merge_key].dump();
}

// First position of each identity.
std::unordered_map<std::string, size_t> positions(const List& list, const std::string& merge_key) {
  std::unordered_map<std::string, size_t> out;
  for (size_t i = 0; i < list.size(); i++) out.emplace(identity(list[i], merge_key), i);
  return out;
}

void discard_nulls(Ref node) {
  if (node.is_object()) {
    std::vector<cJSON*> nulls;
    for (Ref m : node) {
      if (m.is_null()) nulls.push_back(m.get());
    }
    for (cJSON* n : nulls) cJSON_Delete(cJSON_DetachItemViaPointer(node.get(), n));
  }
  for (Ref child : node) discard_nulls(child);
}

bool is_directive(std::string_view key) {
  return key == kRetainKeys || key.starts_with(kDeleteFrom) || key.starts_with(kSetOrder);
}

// Takes directives out of a value that has nothing to be merged with. False: the value itself was one.
bool strip_directives(Ref node) {
  if (node.is_object() && node[kPatch]) return false;
  std::vector<cJSON*> drop;
  for (Ref child : node) {
    if ((node.is_object() && is_directive(child.key())) || !strip_directives(child))
      drop.push_back(child.get());
  }
  for (cJSON* n : drop) cJSON_Delete(cJSON_DetachItemViaPointer(node.get(), n));
  return true;
}

List take_items(Ref array) {
  List out;
  while (array.at(0)) out.push_back(array.take_at(0));
  return out;
}

List clone_items(Ref array) {
  List out;
  for (Ref item : array) out.push_back(item.clone());
  return out;
}

void put_items(Ref array, List items) {
  for (Value& item : items) array.push(std::move(item));
}

// ---- ordering
// -------------------------------------------------------------------------------------------------

// Sorts by the position in `order`; items that it does not know come first, the last one foremost.
void sort_by(List& items, const std::unordered_map<std::string, size_t>& order,
             const std::string& merge_key) {
  std::vector<std::pair<int64_t, Value>> ranked;
  int64_t unknown = -1;
  for (Value& item : items) {
    const auto it = order.find(identity(item, merge_key));
    ranked.emplace_back(it == order.end() ? unknown-- : static_cast<int64_t>(it->second), std::move(item));
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  items.clear();
  for (auto& [rank, item] : ranked) items.push_back(std::move(item));
}

// Items named in `wanted` follow its order; the others keep the server's; the two are interleaved by where
// they stood on the server.
List order_items(List merged, const std::unordered_map<std::string, size_t>& wanted,
                 const std::unordered_map<std::string, size_t>& server, const std::string& merge_key) {
  List ours, theirs;
  for (Value& item : merged) {
    (wanted.contains(identity(item, merge_key)) ? ours : theirs).push_back(std::move(item));
  }
  sort_by(ours, wanted, merge_key);
  sort_by(theirs, server, merge_key);
  List out;
  size_t i = 0, j = 0;
  while (i < theirs.size() || j < ours.size()) {
    bool take_theirs = j >= ours.size();
    if (i < theirs.size() && j < ours.size()) {
      const auto l = server.find(identity(theirs[i], merge_key)),
                 r = server.find(identity(ours[j], merge_key));
      take_theirs = l != server.end() && r != server.end() && l->second < r->second;
    }
    out.push_back(std::move(take_theirs ? theirs[i++] : ours[j++]));
  }
  return out;
}

// ---- lists
// ----------------------------------------------------------------------------------------------------

// All items of both lists must be of one kind. Returns that of the first.
Result<json::Type> item_kind(const List& a, const List& b) {
  Ref first;
  for (const List* list : {&a, &b}) {
    for (const Value& item : *list) {
      const Ref v = item.ref();
      if (v.is_array()) return bad("lists of lists are not supported");
      if (!first) first = v;
      if (kind_name(first) != kind_name(v)) {
        return bad("list element types are not identical: " + kind_name(first) + " " + kind_name(v));
      }
    }
  }
  return first.type();
}

// The elements with $patch in a merged list: deletes named items, or asks for the list to be replaced.
Result<bool> take_special_items(List& original, List& patch, const std::string& merge_key) {
  bool replace = false;
  std::unordered_set<std::string> deleted;
  List plain;
  for (Value& item : patch) {
    const Ref directive = item.ref()[kPatch];
    if (!directive) {
      plain.push_back(std::move(item));
    } else if (directive.str() == "delete") {
      if (!item.ref()[merge_key]) return no_merge_key(item, merge_key);
      deleted.insert(identity(item, merge_key));
    } else if (directive.str() == "replace") {
      replace = true;
    } else if (directive.str() == "merge") {
      return bad("merging lists cannot yet be specified in the patch");
    } else {
      return bad("unknown patch type: " + in_words(directive) + " in map: " + in_words(item));
    }
  }
  std::erase_if(original, [&](const Value& item) {
    return item.ref()[merge_key] && deleted.contains(identity(item, merge_key));
  });
  patch = std::move(plain);
  return replace;
}

Result<List> merge_objects(List original, List patch, const Child& child) {
  if (child.merge_key.empty()) {
    return bad("cannot merge lists without merge key for " +
               std::string(child.scope.type != nullptr ? child.scope.type->name() : "a free-form list"));
  }
  const std::string& key = child.merge_key;
  TRY(const bool replace, take_special_items(original, patch, key));
  if (replace) return patch;
  for (const Value& item : original) {
    if (!item.ref()[key]) return no_merge_key(item, key);
  }
  const auto server = positions(original, key);
  auto merged_at = server;
  const auto wanted = positions(patch, key);
  List merged = std::move(original);
  for (Value& item : patch) {
    if (!item.ref()[key]) return no_merge_key(item, key);
    const auto [it, fresh] = merged_at.try_emplace(identity(item, key), merged.size());
    if (fresh) {
      merged.push_back(std::move(item));
    } else {
      CHECK_OK(merge_object(merged[it->second], item, child.scope));
    }
  }
  return order_items(std::move(merged), wanted, server, key);
}

Result<List> merge_list(List original, List patch, const Child& child, bool deletes) {
  if (original.empty() && patch.empty()) return original;
  TRY(const json::Type kind, item_kind(original, patch));
  if (kind == json::Type::object) return merge_objects(std::move(original), std::move(patch), child);
  const auto wanted = positions(patch, "");
  if (deletes) {
    std::erase_if(original, [&](const Value& item) { return wanted.contains(identity(item, "")); });
    return original;
  }
  const auto server = positions(original, "");
  List merged;
  std::unordered_set<std::string> seen;
  for (List* list : {&original, &patch}) {
    for (Value& item : *list) {
      if (seen.insert(identity(item, "")).second) merged.push_back(std::move(item));
    }
  }
  return order_items(std::move(merged), wanted, server, "");
}

// ---- directives
// -----------------------------------------------------------------------------------------------

Result<> apply_retain_keys(Ref original, Ref patch) {
  const Ref keys = patch[kRetainKeys];
  if (!keys) return {};
  if (!keys.is_array()) return bad("invalid patch format of retainKeys");
  std::unordered_set<std::string> retained;
  for (Ref key : keys) retained.emplace(key.str());
  for (Ref member : patch) {
    if (member.is_null() || is_directive(member.key())) continue;
    if (!retained.contains(std::string(member.key()))) return bad("invalid patch format of retainKeys");
  }
  std::vector<cJSON*> drop;
  for (Ref member : original) {
    if (!retained.contains(std::string(member.key()))) drop.push_back(member.get());
  }
  for (cJSON* n : drop) cJSON_Delete(cJSON_DetachItemViaPointer(original.get(), n));
  return {};
}

// Items of the patch must appear in the order list, in that order.
Result<> check_order(const List& patch, const List& order, const std::string& merge_key) {
  if (order.empty()) return {};
  size_t next = 0;
  for (const Value& item : patch) {
    if (!merge_key.empty() && item.ref()[kPatch]) continue;
    if (!merge_key.empty() && !item.ref()[merge_key]) return no_merge_key(item, merge_key);
    const std::string id = identity(item, merge_key);
    while (next < order.size() && identity(order[next], merge_key) != id) next++;
    if (next == order.size()) {
      std::string lists[2];
      for (const Value& v : patch) lists[0] += (lists[0].empty() ? "" : " ") + in_words(v);
      for (const Value& v : order) lists[1] += (lists[1].empty() ? "" : " ") + in_words(v);
      return bad("The order in patch list:\n[" + lists[0] + "]\n doesn't match $setElementOrder list:\n[" +
                 lists[1] + "]\n");
    }
    next++;
  }
  return {};
}

// The server's order as upstream sees it while it sorts. Its merge deletes in place and appends into the room
// that this leaves, in the very array that it later takes for the server's order; clients see the outcome, so
// it is kept.
std::unordered_map<std::string, size_t> order_after_merge(const List& server, const List& patch,
                                                          const std::string& merge_key) {
  std::unordered_set<std::string> deleted;
  for (const Value& item : patch) {
    if (item.ref()[kPatch].str() == "delete") deleted.insert(identity(item, merge_key));
  }
  std::vector<std::string> slots;
  std::unordered_set<std::string> present;
  std::string last;
  for (const Value& item : server) {
    last = identity(item, merge_key);
    if (deleted.contains(last)) continue;
    slots.push_back(last);
    present.insert(slots.back());
  }
  for (const Value& item : patch) {
    if (item.ref()[kPatch] || slots.size() == server.size()) continue;
    std::string id = identity(item, merge_key);
    if (present.insert(id).second) slots.push_back(std::move(id));
  }
  // What was last stays behind in the last place when nothing was written over it.
  if (slots.size() < server.size() && deleted.contains(last)) slots.push_back(last);
  std::unordered_map<std::string, size_t> out;
  for (size_t i = 0; i < slots.size(); i++) out.emplace(slots[i], i);
  return out;
}

// $setElementOrder/<key>: merges the list under that key and puts it in the order asked for.
Result<> apply_set_order(Ref original, Members& members, Ref patch, Ref directive, Scope scope,
                         std::set<std::string, std::less<>>& done) {
  if (!directive.key().starts_with(std::string(kSetOrder) + "/")) {
    return bad("invalid patch format of setElementOrder list");
  }
  if (!directive.is_array()) return bad_kind("[]interface {}", directive);
  const std::string key(directive.key().substr(kSetOrder.size() + 1));
  const Ref ours = patch[key];
  Ref theirs = members.find(key);
  if (theirs && !theirs.is_array()) return bad_kind("[]interface {}", theirs);
  if (ours && !ours.is_array()) return bad_kind("[]interface {}", ours);
  TRY(Child child, child_of(scope, key));
  const List order = clone_items(directive);
  for (const Value& item : order) {
    if (!child.merge_key.empty() && !item.ref().is_object()) return bad_kind("map[string]interface {}", item);
    if (!child.merge_key.empty() && !item.ref()[child.merge_key]) return no_merge_key(item, child.merge_key);
  }
  List patch_items = clone_items(ours);
  CHECK_OK(check_order(patch_items, order, child.merge_key));
  done.insert(key);
  if (!theirs && !ours) return {};
  List merged, server = clone_items(theirs);
  const bool shifts = ours && theirs && child.merges_list() && !child.merge_key.empty();
  const auto server_positions =
      shifts ? order_after_merge(server, patch_items, child.merge_key) : positions(server, child.merge_key);
  if (!ours) {
    merged = std::move(server);
  } else if (!theirs) {
    for (Value& item : patch_items) {
      if (strip_directives(item)) merged.push_back(std::move(item));
    }
  } else if (child.merges_list()) {
    TRY(merged, merge_list(std::move(server), std::move(patch_items), child, false));
  } else {
    merged = std::move(patch_items);
  }
  for (const Value& item : merged) {
    if (!child.merge_key.empty() && !item.ref()[child.merge_key]) return no_merge_key(item, child.merge_key);
  }
  Value list = Value::array();
  put_items(list, order_items(std::move(merged), positions(order, child.merge_key), server_positions,
                              child.merge_key));
  (void)original;
  members.set(key, std::move(list));
  return {};
}

// ---- objects
// --------------------------------------------------------------------------------------------------

// The patch's value where there is nothing to merge it with.
void adopt(Members& members, std::string_view key, Ref patch_value) {
  Value v = patch_value.clone();
  discard_nulls(v);
  if (strip_directives(v)) {
    members.set(key, std::move(v));
  } else {
    members.remove(key);
  }
}

Result<> merge_member(Members& members, Ref change, Scope scope) {
  std::string_view key = change.key();
  const bool deletes = key.starts_with(kDeleteFrom);
  if (deletes) {
    if (key.size() <= kDeleteFrom.size() || key[kDeleteFrom.size()] != '/') {
      return bad("invalid patch format of primitive list");
    }
    key.remove_prefix(kDeleteFrom.size() + 1);
  }
  if (change.is_null()) {
    members.remove(key);
    return {};
  }
  const std::string name(key);
  Ref current = members.find(name);
  if (!current || current.type() != change.type()) {
    if (!deletes) adopt(members, name, change);
    return {};
  }
  if (change.is_object()) {
    TRY(const Child child, child_of(scope, name));
    if (child.strategy == PatchStrategy::replace) {
      members.set(name, change.clone());
      return {};
    }
    return merge_object(current, change, child.scope);
  }
  if (change.is_array()) {
    TRY(const Child child, child_of(scope, name));
    if (!deletes && !child.merges_list()) {
      members.set(name, change.clone());
      return {};
    }
    TRY(List merged, merge_list(take_items(current), clone_items(change), child, deletes));
    put_items(current, std::move(merged));
    return {};
  }
  members.set(name, change.clone());
  return {};
}

Result<> merge_object(Ref original, Ref patch, Scope scope) {
  if (const Ref directive = patch[kPatch]) {
    Value result = Value::object();
    if (directive.str() == "replace") {
      result = patch.clone();
      result.ref().remove(kPatch);
    } else if (directive.str() != "delete") {
      return bad("unknown patch type: " + in_words(directive) + " in map: " + in_words(patch));
    }
    std::swap(original.get()->child, result.get()->child);
    return {};
  }
  CHECK_OK(apply_retain_keys(original, patch));
  Members members(original, patch.size());
  std::set<std::string, std::less<>> done;
  for (Ref change : patch) {
    if (change.key().starts_with(kSetOrder)) {
      CHECK_OK(apply_set_order(original, members, patch, change, scope, done));
    }
  }
  for (Ref change : patch) {
    if (change.key() == kRetainKeys || change.key().starts_with(kSetOrder) || done.contains(change.key()))
      continue;
    CHECK_OK(merge_member(members, change, scope));
  }
  return {};
}

}  // namespace

Result<Value> apply_strategic_patch(Value object, Ref patch, const Type& type) {
  if (!patch.is_object() || !object.ref().is_object()) return bad("invalid JSON document");
  CHECK_OK(merge_object(object, patch, Scope{&type, nullptr}));
  return object;
}

}  // namespace limpet::schema

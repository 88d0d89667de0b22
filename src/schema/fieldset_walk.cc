#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "schema/fieldset.h"
#include "schema/members.h"

namespace limpet::schema {

namespace {

using json::Ref;
using json::Value;

// How a value takes part in ownership: as a whole, or by its members.
enum class Kind : uint8_t { leaf, structure, map, set_list, map_list };

struct Shapes {
  Kind kind = Kind::leaf;
  const Type* type =
      nullptr;  // of the structure, or of the map's values or list's items when those are objects
  const Field* field = nullptr;  // that declares the list or map
};

Shapes of_type(const Type* type) {
  if (type == nullptr || type->atomic() || type->open()) return {};
  return {Kind::structure, type, nullptr};
}

Shapes of_field(const Field* f) {
  if (f == nullptr) return {};
  const Type* type = f->scalar() == Scalar::object ? f->type() : nullptr;
  switch (f->shape()) {
    case Shape::single:
      return f->atomic_map() ? Shapes{} : of_type(type);
    case Shape::map:
      return f->atomic_map() ? Shapes{} : Shapes{Kind::map, type, f};
    case Shape::list:
      break;
  }
  if (f->list_type() == ListType::set) return {Kind::set_list, nullptr, f};
  if (f->list_type() == ListType::map && type != nullptr) return {Kind::map_list, type, f};
  return {};
}

Shapes child_of(const Shapes& s, std::string_view key) {
  if (s.kind == Kind::structure) return of_field(s.type->find(key));
  return of_type(s.type);  // a map's value, a list's item
}

bool is_list(Kind k) { return k == Kind::set_list || k == Kind::map_list; }

// The path element of a list item: its keys in order of name, absent ones by their default.
Result<std::string> element_of(const Shapes& s, Ref item) {
  if (s.kind == Kind::set_list) return "v:" + item.dump();
  std::map<std::string, std::string> keys;
  std::string_view names = s.field->list_map_keys();
  while (!names.empty()) {
    const size_t comma = names.find(',');
    const std::string name(names.substr(0, comma));
    names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 1);
    const Ref value = item[name];
    if (value && !value.is_null()) {
      keys[name] = value.dump();
      continue;
    }
    const Field* field = s.type->find(name);
    const std::string_view otherwise = field != nullptr ? field->default_json() : std::string_view();
    if (!otherwise.empty()) {
      keys[name] = std::string(otherwise);
    } else if (field != nullptr && !field->required()) {
      continue;
    } else {
      return fail(Errc::invalid_argument, "associative list with keys has an element that omits key field " +
                                              json::quoted(name) + " (and doesn't have default value)");
    }
  }
  std::string out = "k:{";
  for (const auto& [name, value] : keys)
    out += (out.size() > 3 ? "," : "") + json::quoted(name) + ":" + value;
  return out + "}";
}

// Items by path element, for objects that are stored already: odd items have no element and are passed over.
std::vector<std::pair<std::string, Ref>> items_of(const Shapes& s, Ref list) {
  std::vector<std::pair<std::string, Ref>> out;
  for (Ref item : list) {
    auto element = element_of(s, item);
    if (element) out.emplace_back(std::move(*element), item);
  }
  return out;
}

bool fits(const Shapes& s, Ref v) { return is_list(s.kind) ? v.is_array() : v.is_object(); }

Result<> collect(const Shapes& s, Ref v, FieldSet& out) {
  if (s.kind == Kind::leaf || !fits(s, v)) {
    out.member = true;
    return {};
  }
  if (is_list(s.kind)) {
    for (Ref item : v) {
      TRY(std::string element, element_of(s, item));
      const auto [it, fresh] = out.children.try_emplace(element);
      if (!fresh)
        return fail(Errc::invalid_argument, "duplicate entries for key [" + element.substr(2) + "]");
      it->second.member = true;
      if (s.kind == Kind::map_list) CHECK_OK(collect(child_of(s, {}), item, it->second));
      it->second.member = true;
    }
    return {};
  }
  for (Ref m : v) {
    FieldSet child;
    CHECK_OK(collect(child_of(s, m.key()), m, child));
    if (s.kind == Kind::map || (m.is_object() && m.size() == 0)) child.member = true;
    if (!child.empty()) out.children["f:" + std::string(m.key())] = std::move(child);
  }
  return {};
}

// A member of one object or of two, by its key. Objects are wide: no map of copied keys.
struct Member {
  std::string_view key;
  Ref before, after;
};

// Sorted by key.
std::vector<Member> members_of(Ref before, Ref after) {
  std::vector<Member> out;
  out.reserve(before.size() + after.size());
  for (Ref m : before) out.push_back({m.key(), m, Ref()});
  for (Ref m : after) out.push_back({m.key(), Ref(), m});
  std::stable_sort(out.begin(), out.end(), [](const Member& a, const Member& b) { return a.key < b.key; });
  size_t kept = 0;
  for (size_t i = 0; i < out.size(); i++) {
    if (kept > 0 && out[kept - 1].key == out[i].key) {
      Member& same = out[kept - 1];
      if (out[i].before) same.before = out[i].before;
      if (out[i].after) same.after = out[i].after;
    } else {
      out[kept++] = out[i];
    }
  }
  out.resize(kept);
  return out;
}

struct Walk {
  Difference& out;
  std::vector<std::string> path;

  static void insert(FieldSet& set, const std::vector<std::string>& path) {
    FieldSet* at = &set;
    for (const std::string& element : path) at = &at->children[element];
    at->member = true;
  }
  void leaf(Ref before, Ref after) {
    if (path.empty()) return;
    if (!before) {
      insert(out.added, path);
    } else if (!after) {
      insert(out.removed, path);
    } else if (!before.equals(after)) {
      insert(out.modified, path);
    }
  }
  void visit(const Shapes& s, Ref before, Ref after);
};

void Walk::visit(const Shapes& s, Ref before, Ref after) {
  if (!before && !after) return;
  const bool whole = s.kind == Kind::leaf || (before && !fits(s, before)) || (after && !fits(s, after));
  if (whole || (before.size() == 0 && after.size() == 0)) {
    leaf(before, after);
    return;
  }
  auto step = [&](const std::string& element, const Shapes& child, Ref a, Ref b) {
    path.push_back(element);
    visit(child, a, b);
    path.pop_back();
  };
  if (is_list(s.kind)) {
    std::map<std::string, std::pair<Ref, Ref>> both;
    for (auto& [element, item] : items_of(s, before)) both[element].first = item;
    for (auto& [element, item] : items_of(s, after)) both[element].second = item;
    for (const auto& [element, pair] : both) step(element, child_of(s, {}), pair.first, pair.second);
  } else {
    std::vector<Member> both = members_of(before, after);
    // A struct that is no pointer in upstream's types is never absent there, so that it has no owner of its
    // own.
    static const Value kEmpty = Value::object();
    for (auto& [key, one, other] : both) {
      const Field* f = s.kind == Kind::structure ? s.type->find(key) : nullptr;
      const bool always =
          f != nullptr && f->shape() == Shape::single && f->scalar() == Scalar::object && !f->pointer();
      if (always && !one && (before || path.empty())) one = kEmpty.ref();
      if (always && !other && (after || path.empty())) other = kEmpty.ref();
      step("f:" + std::string(key), child_of(s, key), one, other);
    }
  }
  if (path.empty()) return;
  if (!before) insert(out.added, path);
  if (!after) insert(out.removed, path);
}

void merge(const Shapes& s, Ref target, Ref applied);

// Items keep the server's places, those named in the applied list follow its order.
void merge_list(const Shapes& s, Ref target, Ref applied) {
  std::vector<std::string> left_names, right_names;
  std::unordered_map<std::string, Value> left;
  for (auto& [element, item] : items_of(s, target)) {
    if (left.try_emplace(element, item.clone()).second) left_names.push_back(element);
  }
  std::unordered_map<std::string, Ref> right;
  for (auto& [element, item] : items_of(s, applied)) {
    if (right.try_emplace(element, item).second) right_names.push_back(element);
  }
  Value merged = Value::array();
  auto push_right = [&](const std::string& name) {
    const auto mine = left.find(name);
    if (mine == left.end()) {
      merged.ref().push(right[name].clone());
      return;
    }
    if (s.kind == Kind::map_list) merge(child_of(s, {}), mine->second, right[name]);
    merged.ref().push(std::move(mine->second));
  };
  size_t r = 0, shared = 0;
  std::unordered_set<std::string> placed;
  for (const std::string& name : left_names) {
    if (!right.contains(name)) {
      merged.ref().push(std::move(left[name]));
      continue;
    }
    // Of the items that both lists have, only the next in the applied order keeps its place here.
    while (shared < right_names.size() && (shared < r || !left.contains(right_names[shared]))) shared++;
    if (placed.contains(name) || shared == right_names.size() || right_names[shared] != name) continue;
    while (r <= shared) {
      placed.insert(right_names[r]);
      push_right(right_names[r++]);
    }
  }
  while (r < right_names.size()) push_right(right_names[r++]);
  while (target.at(0)) target.remove_at(0);
  while (merged.ref().at(0)) target.push(merged.ref().take_at(0));
}

void merge(const Shapes& s, Ref target, Ref applied) {
  if (is_list(s.kind)) {
    merge_list(s, target, applied);
    return;
  }
  Members members(target, applied.size());
  for (Ref m : applied) {
    const Shapes child = child_of(s, m.key());
    const Ref current = members.find(m.key());
    if (m.is_null()) {
      members.remove(m.key());
    } else if (child.kind == Kind::leaf || !current || !fits(child, current) || !fits(child, m)) {
      members.set(m.key(), m.clone());
    } else {
      merge(child, current, m);
    }
  }
}

void prune_node(const Shapes& s, Ref node, const FieldSet& last, const FieldSet& owned);

// The first item of each element that was applied last, and that nobody owns any more, goes.
void prune_list(const Shapes& s, Ref list, const FieldSet& last, const FieldSet& owned) {
  Value kept = Value::array();
  std::unordered_set<std::string> seen;
  while (list.at(0)) {
    Value item = list.take_at(0);
    const auto element = element_of(s, item);
    const auto mine = element ? last.children.find(*element) : last.children.end();
    const bool first = element && mine != last.children.end() && seen.insert(*element).second;
    const auto theirs = first ? owned.children.find(*element) : owned.children.end();
    if (first && theirs == owned.children.end()) continue;
    if (first) prune_node(child_of(s, {}), item, mine->second, theirs->second);
    kept.ref().push(std::move(item));
  }
  while (kept.ref().at(0)) list.push(kept.ref().take_at(0));
}

void prune_node(const Shapes& s, Ref node, const FieldSet& last, const FieldSet& owned) {
  if (s.kind == Kind::leaf || !fits(s, node)) return;
  if (is_list(s.kind)) return prune_list(s, node, last, owned);
  Members members(node, 0);
  for (const auto& [element, mine] : last.children) {
    const auto theirs = owned.children.find(element);
    const std::string_view key = std::string_view(element).substr(2);
    const Ref child = members.find(key);
    if (!child || !element.starts_with("f:")) continue;
    if (theirs == owned.children.end()) {
      members.remove(key);
    } else {
      prune_node(child_of(s, key), child, mine, theirs->second);
    }
  }
}

}  // namespace

Result<FieldSet> field_set_of(const Type& type, Ref object) {
  FieldSet out;
  CHECK_OK(collect(of_type(&type), object, out));
  out.member = false;
  return out;
}

Difference compare(const Type& type, Ref before, Ref after) {
  Difference out;
  Walk walk{out, {}};
  static const Value kEmpty = Value::object();
  walk.visit(of_type(&type), before ? before : kEmpty.ref(), after ? after : kEmpty.ref());
  return out;
}

void merge_applied(const Type& type, Ref target, Ref applied) { merge(of_type(&type), target, applied); }

void prune(const Type& type, Ref object, const FieldSet& last, const FieldSet& owned) {
  prune_node(of_type(&type), object, last, owned);
}

}  // namespace limpet::schema

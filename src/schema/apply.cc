#include "schema/apply.h"

#include <algorithm>

#include "schema/fieldset.h"

namespace limpet::schema {

namespace {

using json::Ref;
using json::Value;

constexpr size_t kMaxUpdaters = 10;  // beyond, the oldest entries are folded into one
constexpr const char* kAncient = "ancient-changes";
constexpr const char* kBefore = "before-first-apply";

// One entry of metadata.managedFields.
struct Owner {
  std::string manager, api_version, subresource, time;
  bool applied = false;
  FieldSet fields;

  bool same(const Owner& o) const {
    return manager == o.manager && subresource == o.subresource && applied == o.applied &&
           (applied || api_version == o.api_version);
  }
};
using Owners = std::vector<Owner>;

Owners read_owners(Ref object) {
  Owners out;
  for (Ref e : object["metadata"]["managedFields"]) {
    Owner o;
    o.manager = e["manager"].str();
    o.api_version = e["apiVersion"].str();
    o.subresource = e["subresource"].str();
    o.time = e["time"].str();
    o.applied = e["operation"].str() == "Apply";
    if (!parse_field_set(e["fieldsV1"], o.fields)) return {};
    if (!o.fields.empty()) out.push_back(std::move(o));
  }
  return out;
}

// Appliers first, then by time and name, as upstream sorts them.
void write_owners(Ref object, Owners owners) {
  std::stable_sort(owners.begin(), owners.end(), [](const Owner& a, const Owner& b) {
    if (a.applied != b.applied) return a.applied;
    if (a.time != b.time) return a.time < b.time;
    return std::tie(a.manager, a.api_version, a.subresource) <
           std::tie(b.manager, b.api_version, b.subresource);
  });
  Value list = Value::array();
  for (Owner& o : owners) {
    Value e = Value::object();
    Ref r = e.ref();
    r.set("manager", o.manager);
    r.set("operation", o.applied ? "Apply" : "Update");
    r.set("apiVersion", o.api_version);
    if (!o.time.empty()) r.set("time", o.time);
    r.set("fieldsType", "FieldsV1");
    const std::string text = o.fields.json();
    o.fields = {};  // sets of wide objects are large; not two forms of all of them at once
    auto fields = json::parse(text);
    r.set("fieldsV1", fields ? std::move(*fields) : Value::object());
    if (!o.subresource.empty()) r.set("subresource", o.subresource);
    list.ref().push(std::move(e));
  }
  Ref meta = object.ensure_object("metadata");
  meta.remove("managedFields");
  if (!owners.empty()) meta.set("managedFields", std::move(list));
}

Value without_owners(Ref object) {
  Value copy = object ? object.clone() : Value::object();
  copy.ref()["metadata"].remove("managedFields");
  return copy;
}

// What nobody owns: identity, and what only the server sets.
void strip(FieldSet& fields) {
  static const FieldSet kServer = [] {
    FieldSet s;
    s.children["f:apiVersion"].member = true;
    s.children["f:kind"].member = true;
    FieldSet& meta = s.children["f:metadata"];
    meta.member = true;
    for (const char* f : {"name", "namespace", "creationTimestamp", "selfLink", "uid", "generation",
                          "managedFields", "resourceVersion"}) {
      meta.children[std::string("f:") + f].member = true;
    }
    return s;
  }();
  fields.subtract(kServer);
}

// Takes these two of the three.
FieldSet changed(Difference& d) {
  FieldSet out = std::move(d.modified);
  out.add(std::move(d.added));
  return out;
}
FieldSet changed(Difference&& d) { return changed(d); }

void drop_empty(Owners& owners) {
  std::erase_if(owners, [](const Owner& o) { return o.fields.empty(); });
}

void fold_ancient(Owners& owners) {
  std::vector<Owner*> updaters;
  for (Owner& o : owners) {
    if (!o.applied) updaters.push_back(&o);
  }
  if (updaters.size() <= kMaxUpdaters) return;
  std::stable_sort(updaters.begin(), updaters.end(),
                   [](const Owner* a, const Owner* b) { return a->time < b->time; });
  Owner ancient;
  ancient.manager = kAncient;
  const size_t fold = updaters.size() - kMaxUpdaters + 1;
  for (size_t i = 0; i < fold; i++) {
    ancient.fields.add(updaters[i]->fields);
    ancient.api_version = updaters[i]->api_version;
    ancient.time = updaters[i]->time;
    updaters[i]->fields = FieldSet();
  }
  drop_empty(owners);
  owners.push_back(std::move(ancient));
}

std::string in_words(const Owner& o) {
  std::string out = json::quoted(o.manager);
  if (!o.subresource.empty()) out += " with subresource " + json::quoted(o.subresource);
  if (!o.applied) out += " using " + o.api_version;
  return out;
}

struct Clash {
  const Owner* owner;
  FieldSet fields;
};

ApplyFailure conflict(std::vector<Clash> clashes) {
  ApplyFailure failure;
  std::sort(clashes.begin(), clashes.end(),
            [](const Clash& a, const Clash& b) { return in_words(*a.owner) < in_words(*b.owner); });
  std::string lines;
  for (const Clash& clash : clashes) {
    const std::string who = in_words(*clash.owner);
    lines += (lines.empty() ? "" : "\n") + ("conflicts with " + who + ":");
    for (const std::string& path : clash.fields.paths()) {
      failure.conflicts.push_back({"conflict with " + who, path});
      lines += "\n- " + path;
    }
  }
  const size_t n = failure.conflicts.size();
  std::string text = "Apply failed with " + std::to_string(n) + (n == 1 ? " conflict: " : " conflicts: ");
  text += n == 1 ? failure.conflicts[0].message + ": " + failure.conflicts[0].field : lines;
  failure.error = Error{Errc::conflict, std::move(text), 0};
  return failure;
}

// What kubectl applied on the client's side and nobody changed since is kubectl's already.
FieldSet last_applied(const Type& type, Ref live) {
  const Ref note = live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
  auto applied = json::parse(note.str());
  if (!applied || !applied->ref().is_object()) return {};
  auto fields = field_set_of(type, *applied);
  if (!fields) return {};
  fields->subtract(compare(type, *applied, live).modified);
  // The note itself changes with every apply.
  fields->children["f:metadata"]
      .children["f:annotations"]
      .children["f:kubectl.kubernetes.io/last-applied-configuration"]
      .member = true;
  return std::move(*fields);
}

std::unexpected<ApplyFailure> refuse(std::string message) {
  return std::unexpected(ApplyFailure{Error{Errc::invalid_argument, std::move(message), 0}, {}});
}

}  // namespace

std::expected<Value, ApplyFailure> apply(const Type& type, Ref live, Value applied,
                                         const FieldManager& manager, bool force, WallTime now) {
  if (!applied.ref().is_object()) return refuse("an apply patch must be an object");
  if (applied.ref()["metadata"]["managedFields"]) return refuse("metadata.managedFields must be nil");
  auto fields = field_set_of(type, applied);
  if (!fields) return refuse(fields.error().message);
  strip(*fields);
  const Value before = without_owners(live);
  Owners owners = read_owners(live);
  if (live && owners.empty()) {  // the object was there before anybody was tracked
    Owner first;
    first.manager = kBefore;
    first.api_version = manager.api_version;
    first.time = rfc3339(now);
    first.fields = changed(compare(type, Ref(), before));
    strip(first.fields);
    if (!first.fields.empty()) owners.push_back(std::move(first));
  }
  const Owners untouched = owners;
  Owner me{manager.name, manager.api_version, manager.subresource, rfc3339(now), true, *fields};
  const auto mine = std::find_if(owners.begin(), owners.end(), [&](const Owner& o) { return o.same(me); });
  Owner last = mine == owners.end() ? Owner{} : *mine;
  if (mine != owners.end()) owners.erase(mine);

  Value object = before.clone();
  merge_applied(type, object, applied);
  FieldSet owned = *fields;
  for (const Owner& o : owners) owned.add(o.fields);
  prune(type, object, last.fields, owned);

  Difference difference = compare(type, before, object);
  const FieldSet touched = changed(difference);
  std::vector<Clash> clashes;
  for (const Owner& o : owners) {
    FieldSet both = o.fields;
    both.intersect(touched);
    if (!both.empty()) clashes.push_back({&o, std::move(both)});
  }
  if (!clashes.empty() && !force && manager.name == "kubectl") {
    const FieldSet allowed = last_applied(type, before);
    for (Clash& clash : clashes) clash.fields.subtract(allowed);
    std::erase_if(clashes, [](const Clash& clash) { return clash.fields.empty(); });
  }
  if (!clashes.empty() && !force) return std::unexpected(conflict(std::move(clashes)));
  for (Owner& o : owners) {
    o.fields.subtract(touched);
    o.fields.subtract(difference.removed);
  }
  drop_empty(owners);
  const bool same = last.fields == me.fields && last.api_version == me.api_version &&
                    before.ref().equals(object) && owners.size() + 1 == untouched.size();
  if (same) me.time = last.time;  // nothing happened: the object stays byte for byte
  if (!me.fields.empty()) owners.push_back(std::move(me));
  write_owners(object, std::move(owners));
  return object;
}

bool takes_owners_away(Ref list) {
  return list.is_array() && list.size() == 1 && list.at(0).is_object() && list.at(0).size() == 0;
}

namespace {

// An empty list takes nothing away, nor one that cannot be read: a client that does not know the field would
// do so by accident. What is sent to a subresource says nothing of owners at all.
Owners owners_before(Ref live, Ref object, const FieldManager& manager) {
  const Ref sent = object["metadata"]["managedFields"];
  if (!manager.subresource.empty()) return read_owners(live);
  if (takes_owners_away(sent)) return {};
  Owners owners = read_owners(object);
  return owners.empty() ? read_owners(live) : owners;
}

}  // namespace

void track_update(const Type& type, Ref live, Ref object, const FieldManager& manager, WallTime now) {
  Owners owners = owners_before(live, object, manager);
  if (live && owners.empty()) return write_owners(object, {});
  // Owners are no part of what is compared: taken out of both for that time, since copies of wide objects are
  // large.
  object["metadata"].remove("managedFields");
  Value kept = live ? live["metadata"].take("managedFields") : Value();
  Difference difference = compare(type, live, object);
  if (kept) live["metadata"].set("managedFields", std::move(kept));
  FieldSet touched = changed(difference);
  for (Owner& o : owners) {
    const bool self = !o.applied && o.manager == manager.name && o.api_version == manager.api_version &&
                      o.subresource == manager.subresource;
    if (!self) o.fields.subtract(touched);
    o.fields.subtract(difference.removed);
  }
  strip(touched);
  if (!touched.empty()) {
    Owner me{manager.name, manager.api_version, manager.subresource, rfc3339(now), false, std::move(touched)};
    const auto mine = std::find_if(owners.begin(), owners.end(), [&](const Owner& o) { return o.same(me); });
    if (mine == owners.end()) {
      owners.push_back(std::move(me));
    } else {
      mine->fields.add(std::move(me.fields));
      mine->time = me.time;
    }
  }
  drop_empty(owners);
  fold_ancient(owners);
  write_owners(object, std::move(owners));
}

}  // namespace limpet::schema

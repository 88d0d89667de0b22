#include "api/removal.h"

#include <charconv>

#include "api/object.h"

namespace limpet::api {
namespace {

bool is(const schema::Resource& r, std::string_view plural) {
  return r.group().empty() && r.plural() == plural;
}

Outcome<> check_preconditions(const schema::Resource& r, json::Ref meta, store::Revision version,
                              const DeleteOptions& o) {
  std::string_view name = meta["name"].str();
  if (o.uid && *o.uid != meta["uid"].str()) {
    return std::unexpected(status::conflict(r, name,
                                            "Precondition failed: UID in precondition: " + *o.uid +
                                                ", UID in object meta: " + std::string(meta["uid"].str())));
  }
  if (o.version && *o.version != std::to_string(version)) {
    return std::unexpected(
        status::conflict(r, name,
                         "Precondition failed: ResourceVersion in precondition: " + *o.version +
                             ", ResourceVersion in object meta: " + std::to_string(version)));
  }
  return {};
}

void set_finalizer(json::Ref meta, std::string_view name, bool on) {
  json::Ref list = meta["finalizers"];
  for (size_t i = 0; i < list.size(); ++i) {
    if (list.at(i).str() != name) continue;
    if (on) return;
    list.remove_at(i);
    if (list.size() == 0) meta.remove("finalizers");
    return;
  }
  if (on) meta.ensure_array("finalizers").push(json::Value::string(name));
}

// How long a pod gets to end itself; 0: nothing to wait for.
int64_t pod_grace(json::Ref pod, const DeleteOptions& o) {
  std::string_view phase = pod["status"]["phase"].str();
  if (pod["spec"]["nodeName"].str().empty() || phase == "Failed" || phase == "Succeeded") return 0;
  int64_t grace = o.grace_s ? *o.grace_s : pod["spec"]["terminationGracePeriodSeconds"].integer(30);
  return grace < 0 ? 1 : grace;
}

void mark(json::Ref object, int64_t grace_s, WallTime now) {
  json::Ref meta = object["metadata"];
  meta.set("deletionTimestamp", rfc3339({now.seconds + grace_s, 0}));
  meta.set("deletionGracePeriodSeconds", grace_s);
  if (int64_t generation = meta["generation"].integer()) meta.set("generation", generation + 1);
}

// Marks the object as being deleted, or finds that nothing holds it.
Removal plan(const schema::Resource& r, json::Ref object, int64_t grace_s, bool finalizers_changed,
             WallTime now) {
  json::Ref meta = object["metadata"];
  Removal out;
  bool marked = static_cast<bool>(meta["deletionTimestamp"]);
  int64_t left = meta["deletionGracePeriodSeconds"].integer();
  bool held =
      meta["finalizers"].size() > 0 || (is(r, "namespaces") && object["spec"]["finalizers"].size() > 0);
  if (grace_s == 0 && !held) return out;
  out.action = Removal::Action::replace;
  // A second request can shorten the time, never lengthen it.
  if (!marked || grace_s < left) {
    mark(object, grace_s, now);
  } else if (!finalizers_changed) {
    out.action = Removal::Action::keep;
  }
  if (is(r, "namespaces")) object.ensure_object("status").set("phase", "Terminating");
  return out;
}

}  // namespace

bool protected_namespace(std::string_view name) {
  return name == "default" || name == "kube-system" || name == "kube-public" || name == "kube-node-lease";
}

Outcome<DeleteOptions> read_delete_options(json::Ref body, const DeleteQuery& q) {
  DeleteOptions o;
  if (std::optional<int64_t> n = body["gracePeriodSeconds"].exact_integer()) {
    o.grace_s = *n;
  } else if (!q.grace.empty()) {
    int64_t v = 0;
    auto [end, ec] = std::from_chars(q.grace.data(), q.grace.data() + q.grace.size(), v);
    if (ec != std::errc() || end != q.grace.data() + q.grace.size()) {
      return std::unexpected(status::bad_request("gracePeriodSeconds is not a number"));
    }
    o.grace_s = v;
  }
  o.propagation = body["propagationPolicy"].str(q.propagation);
  bool orphan_given = static_cast<bool>(body["orphanDependents"]) || q.orphan.has_value();
  if (orphan_given && !o.propagation.empty()) {
    return std::unexpected(status::invalid(
        "meta.k8s.io", "DeleteOptions", "",
        {{"FieldValueInvalid", "Invalid value: orphanDependents and deletionPropagation cannot be both set",
          "propagationPolicy"}}));
  }
  if (orphan_given)
    o.propagation = body["orphanDependents"].boolean(q.orphan.value_or(false)) ? "Orphan" : "Background";
  if (!o.propagation.empty() && o.propagation != "Background" && o.propagation != "Foreground" &&
      o.propagation != "Orphan") {
    return std::unexpected(
        status::invalid("meta.k8s.io", "DeleteOptions", "",
                        {{"FieldValueNotSupported",
                          "Unsupported value: " + json::quoted(o.propagation) +
                              ": supported values: \"Background\", \"Foreground\", \"Orphan\"",
                          "propagationPolicy"}}));
  }
  if (json::Ref p = body["preconditions"]) {
    if (p["uid"].is_string()) o.uid = p["uid"].str();
    if (p["resourceVersion"].is_string()) o.version = p["resourceVersion"].str();
  }
  for (json::Ref d : body["dryRun"]) o.dry_run = o.dry_run || d.str() == "All";
  if (q.dry_run == "All") o.dry_run = true;
  return o;
}

Outcome<Removal> plan_removal(const schema::Resource& r, std::string_view stored, store::Revision version,
                              const DeleteOptions& o, WallTime now) {
  Result<json::Value> tree = parse_stored(stored, 0);
  if (!tree) return std::unexpected(status::from_error(tree.error()));
  json::Ref object = tree->ref();
  json::Ref meta = object["metadata"];
  Outcome<> sound = check_preconditions(r, meta, version, o);
  if (!sound) return std::unexpected(sound.error());
  std::string name(meta["name"].str()), uid(meta["uid"].str());
  if (is(r, "namespaces")) {
    if (protected_namespace(name))
      return std::unexpected(status::forbidden(r, name, "this namespace may not be deleted"));
    if (meta["deletionTimestamp"] && (object["spec"]["finalizers"].size() || meta["finalizers"].size())) {
      return std::unexpected(status::conflict(r, name,
                                              "The system is ensuring all content is removed from this "
                                              "namespace.  Upon completion, this namespace will "
                                              "automatically be purged by the system."));
    }
  }
  size_t before = meta["finalizers"].size();
  // Who watches over dependents follows the durable objects only: nobody would take such a finalizer away
  // again.
  if (!o.propagation.empty() && r.storage() != schema::Storage::transient) {
    set_finalizer(meta, kForegroundFinalizer, o.propagation == "Foreground");
    set_finalizer(meta, kOrphanFinalizer, o.propagation == "Orphan");
  }
  int64_t grace_s = is(r, "pods") ? pod_grace(object, o) : 0;
  // Without a new period a repeated request leaves a running countdown alone.
  if (is(r, "pods") && meta["deletionTimestamp"] && !o.grace_s) {
    grace_s = std::min(grace_s, meta["deletionGracePeriodSeconds"].integer());
  }
  Removal out = plan(r, object, grace_s, meta["finalizers"].size() != before, now);
  out.uid = uid;
  out.bytes = out.action == Removal::Action::replace ? canonical(r, object) : std::string(stored);
  return out;
}

bool ready_to_go(const schema::Resource& r, json::Ref object) {
  json::Ref meta = object["metadata"];
  if (!meta["deletionTimestamp"] || meta["finalizers"].size() > 0) return false;
  if (is(r, "namespaces") && object["spec"]["finalizers"].size() > 0) return false;
  return meta["deletionGracePeriodSeconds"].integer() == 0;
}

}  // namespace limpet::api

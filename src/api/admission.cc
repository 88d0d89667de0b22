#include "api/admission.h"

#include "api/node_restriction.h"
#include "api/object.h"

namespace limpet::api {
namespace {

bool core_kind(const Admission& a, std::string_view plural) {
  return a.resource.group().empty() && a.resource.plural() == plural;
}

std::string namespace_key(std::string_view ns) { return "namespaces/" + std::string(ns); }

Status forbid(const Admission& a, json::Ref object, std::string_view why) {
  json::Ref meta = object["metadata"];
  std::string_view name = meta["name"].str();
  return status::forbidden(a.resource, name.empty() ? meta["generateName"].str() : name, why);
}

// ---- NamespaceLifecycle: nothing is made in a namespace that is not there or going away.

void namespace_needs(const Admission& a, json::Ref, std::vector<std::string>& keys) {
  if (a.create && a.resource.namespaced() && a.resource.storage() != schema::Storage::none) {
    keys.push_back(namespace_key(a.ns));
  }
}

Outcome<> namespace_lifecycle(const Admission& a, json::Ref object, json::Cursor, const Lookups& lookups) {
  if (!a.create || !a.resource.namespaced() || a.resource.storage() == schema::Storage::none) return {};
  const store::Item* ns = lookups.find(namespace_key(a.ns));
  if (!ns) {
    const schema::Resource* r = schema::find_resource("", "v1", "namespaces");
    return std::unexpected(r ? status::not_found(*r, a.ns) : status::no_such_path());
  }
  if (!read_meta(*ns->value).deleting) return {};
  Status s = forbid(
      a, object,
      "unable to create new content in namespace " + std::string(a.ns) + " because it is being terminated");
  s.causes.push_back({"NamespaceTerminating", "namespace " + std::string(a.ns) + " is being terminated",
                      "metadata.namespace"});
  return std::unexpected(s);
}

// ---- ServiceAccount

bool mirror_pod(json::Ref pod) {
  return static_cast<bool>(pod["metadata"]["annotations"]["kubernetes.io/config.mirror"]);
}

std::string account_of(json::Ref pod) {
  std::string_view name = pod["spec"]["serviceAccountName"].str();
  if (name.empty()) name = pod["spec"]["serviceAccount"].str();
  return std::string(name.empty() ? "default" : name);
}

void account_needs(const Admission& a, json::Ref object, std::vector<std::string>& keys) {
  if (a.create && core_kind(a, "pods") && !mirror_pod(object)) {
    keys.push_back("serviceaccounts/" + std::string(a.ns) + "/" + account_of(object));
  }
}

Outcome<> service_account(const Admission& a, json::Ref object, json::Cursor, const Lookups& lookups) {
  if (!a.create || !core_kind(a, "pods") || mirror_pod(object)) return {};
  std::string name = account_of(object);
  const store::Item* account = lookups.find("serviceaccounts/" + std::string(a.ns) + "/" + name);
  if (!account) {
    return std::unexpected(forbid(a, object,
                                  "error looking up service account " + std::string(a.ns) + "/" + name +
                                      ": serviceaccount \"" + name + "\" not found"));
  }
  json::Ref spec = object.ensure_object("spec");
  spec.set("serviceAccountName", name);
  spec.set("serviceAccount", name);
  if (spec["imagePullSecrets"].size() == 0) {
    json::Cursor secrets = json::Cursor(*account->value)["imagePullSecrets"];
    if (secrets.size() > 0) {
      if (Result<json::Value> v = json::parse(secrets.raw())) spec.set("imagePullSecrets", std::move(*v));
    }
  }
  return {};
}

// ---- Priority

Outcome<> priority(const Admission& a, json::Ref object, json::Cursor, const Lookups&) {
  if (!a.create || !core_kind(a, "pods")) return {};
  json::Ref spec = object.ensure_object("spec");
  std::string name(spec["priorityClassName"].str());
  int64_t value = 0;
  if (name == "system-cluster-critical") {
    value = 2'000'000'000;
  } else if (name == "system-node-critical") {
    value = 2'000'001'000;
  } else if (!name.empty()) {
    return std::unexpected(forbid(a, object, "no PriorityClass with name " + name + " was found"));
  }
  if (spec["priority"] && spec["priority"].integer() != value) {
    return std::unexpected(
        forbid(a, object,
               "the integer value of priority (" + std::to_string(spec["priority"].integer()) +
                   ") must not be provided in pod spec; priority admission controller computed " +
                   std::to_string(value) + " from the given PriorityClass name"));
  }
  spec.set("priority", value);
  if (!spec["preemptionPolicy"]) spec.set("preemptionPolicy", "PreemptLowerPriority");
  return {};
}

// ---- DefaultTolerationSeconds

bool tolerates(json::Ref tolerations, std::string_view key) {
  for (json::Ref t : tolerations) {
    std::string_view effect = t["effect"].str(), k = t["key"].str();
    bool all_keys = k.empty() && t["operator"].str() == "Exists";
    if ((k == key || all_keys) && (effect.empty() || effect == "NoExecute")) return true;
  }
  return false;
}

Outcome<> default_tolerations(const Admission& a, json::Ref object, json::Cursor, const Lookups&) {
  if (!core_kind(a, "pods")) return {};
  json::Ref spec = object.ensure_object("spec");
  for (std::string_view key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    if (tolerates(spec["tolerations"], key)) continue;
    json::Ref t = spec.ensure_array("tolerations").push(json::Value::object());
    t.set("key", key);
    t.set("operator", "Exists");
    t.set("effect", "NoExecute");
    t.set("tolerationSeconds", 300);
  }
  return {};
}

struct Plugin {
  const char* name;
  void (*needs)(const Admission&, json::Ref, std::vector<std::string>&);
  Outcome<> (*admit)(const Admission&, json::Ref, json::Cursor old, const Lookups&);
};

constexpr Plugin kPlugins[] = {
    {"NamespaceLifecycle", namespace_needs, namespace_lifecycle},
    {"NodeRestriction", node_restriction_needs, node_restriction},
    {"ServiceAccount", account_needs, service_account},
    {"Priority", nullptr, priority},
    {"DefaultTolerationSeconds", nullptr, default_tolerations},
};

}  // namespace

const store::Item* Lookups::find(const std::string& key) const {
  auto it = items.find(key);
  return it == items.end() || !it->second ? nullptr : &*it->second;
}

std::vector<std::string> admission_needs(const Admission& a, json::Ref object) {
  std::vector<std::string> keys;
  for (const Plugin& p : kPlugins) {
    if (p.needs) p.needs(a, object, keys);
  }
  return keys;
}

Outcome<> admit(const Admission& a, json::Ref object, json::Cursor old, const Lookups& lookups) {
  for (const Plugin& p : kPlugins) {
    if (Outcome<> o = p.admit(a, object, old, lookups); !o) return o;
  }
  return {};
}

namespace {

struct Fetch : std::enable_shared_from_this<Fetch> {
  Core& core;
  std::shared_ptr<Core> owner;
  std::vector<std::string> keys;
  std::function<void(Outcome<Lookups>)> done;
  Lookups found;
  size_t next = 0;

  Fetch(Core& c, std::vector<std::string> k, std::function<void(Outcome<Lookups>)> d)
      : core(c), owner(c.shared_from_this()), keys(std::move(k)), done(std::move(d)) {}

  void step() {
    if (next == keys.size()) return done(std::move(found));
    const std::string& key = keys[next++];
    core.store.durable().get(key, [self = shared_from_this(), &key](Result<std::optional<store::Item>> got) {
      if (!got) return self->done(std::unexpected(status::from_error(got.error())));
      self->found.items[key] = std::move(*got);
      self->step();
    });
  }
};

}  // namespace

void look_up(Core& core, std::vector<std::string> keys, std::function<void(Outcome<Lookups>)> done) {
  std::make_shared<Fetch>(core, std::move(keys), std::move(done))->step();
}

}  // namespace limpet::api

// The sweeper's work on owners and dependents, after upstream's garbage collector:
// https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/garbagecollector/garbagecollector.go
#include "api/deletion.h"
#include "api/modify.h"
#include "api/object.h"
#include "api/sweeper.h"

namespace limpet::api {
namespace {

bool drop_finalizer(json::Ref object, std::string_view name) {
  json::Ref meta = object["metadata"], list = meta["finalizers"];
  for (size_t i = 0; i < list.size(); ++i) {
    if (list.at(i).str() != name) continue;
    list.remove_at(i);
    if (list.size() == 0) meta.remove("finalizers");
    return true;
  }
  return false;
}

// Asks for each owner in turn.
struct Inquiry : std::enable_shared_from_this<Inquiry> {
  Core& core;
  std::shared_ptr<Core> owner;
  std::string ns;
  std::vector<OwnerRef> owners;
  std::vector<OwnerState> states;
  std::function<void(Result<>)> done;

  explicit Inquiry(Core& c) : core(c), owner(c.shared_from_this()) {}

  void step() {
    if (states.size() == owners.size()) return done({});
    const OwnerRef& o = owners[states.size()];
    size_t slash = o.api_version.find('/');
    std::string group = slash == std::string::npos ? "" : o.api_version.substr(0, slash);
    std::string version = slash == std::string::npos ? o.api_version : o.api_version.substr(slash + 1);
    const schema::Resource* r = schema::find_kind(group, version, o.kind);
    if (!r || r->storage() == schema::Storage::none || (r->namespaced() && ns.empty())) {
      states.push_back(OwnerState::unknown);
      return step();
    }
    core.space(*r).get(object_key(*r, ns, o.name),
                       [self = shared_from_this()](Result<std::optional<store::Item>> got) {
                         if (!got) return self->done(std::unexpected(got.error()));
                         self->states.push_back(self->state(*got, self->owners[self->states.size()]));
                         self->step();
                       });
  }

  OwnerState state(const std::optional<store::Item>& item, const OwnerRef& o) const {
    if (!item) return OwnerState::absent;
    json::Cursor meta = json::Cursor(*item->value)["metadata"];
    if (!meta["uid"].str_equals(o.uid)) return OwnerState::absent;
    return meta["deletionTimestamp"] && has_finalizer(meta, kForegroundFinalizer) ? OwnerState::foreground
                                                                                  : OwnerState::alive;
  }
};

}  // namespace

void Sweeper::judge(Subject subject, std::vector<OwnerRef> owners) {
  auto ask = std::make_shared<Inquiry>(core_);
  const std::string& key = subject.key;
  size_t first = key.find('/'), last = key.rfind('/');
  if (subject.resource->namespaced() && last > first) ask->ns = key.substr(first + 1, last - first - 1);
  ask->owners = std::move(owners);
  Inquiry* q = ask.get();
  ask->done = guarded([this, q, subject](Result<> asked) {
    if (!asked) return finished(subject.key, false);
    Verdict v = judge_dependent(q->owners, q->states);
    if (v.action == Verdict::Action::keep) return next();
    if (v.action == Verdict::Action::remove) return remove_dependent(subject, v.waited_for);
    modify_object(
        core_, *subject.resource, subject.key,
        [forget = v.forget](json::Ref o) { return forget_owners(o, forget); },
        guarded([this, key = subject.key](Result<bool> m) { finished(key, m.has_value()); }));
  });
  ask->step();
}

// An owner that waits for this object waits for what this object owns, too. Objects that own each other would
// wait for ever: then this one holds nobody up.
void Sweeper::remove_dependent(const Subject& subject, bool waited_for) {
  DeleteOptions options;
  options.uid = subject.uid;
  options.version = std::to_string(subject.version);  // other owners may have come since
  options.propagation = subject.policy;
  if (waited_for && !index_.dependents(subject.uid).empty()) options.propagation = "Foreground";
  auto remove = [this, subject, options] {
    run_delete(core_, *subject.resource, subject.key, options, term_,
               guarded([this, key = subject.key](Outcome<Deletion> d) {
                 if (!d && d.error().code == 409) enqueue(key);  // it changed: judge it anew
                 finished(key, d || d.error().code == 404 || d.error().code == 409);
               }));
  };
  if (!waited_for || !index_.in_circle(subject.uid)) return remove();
  modify_object(core_, *subject.resource, subject.key, unblock_owners,
                guarded([this, key = subject.key, remove](Result<bool> m) {
                  if (!m) return finished(key, false);
                  remove();
                }));
}

void Sweeper::foreground(const schema::Resource& r, const std::string& key, const std::string& uid) {
  for (std::string& k : index_.dependents(uid)) enqueue(std::move(k));
  if (index_.blocked(uid)) return next();  // comes back with each of them that goes
  modify_object(
      core_, r, key, [](json::Ref o) { return drop_finalizer(o, kForegroundFinalizer); },
      guarded([this, key](Result<bool> m) { finished(key, m.has_value()); }));
}

struct Sweeper::Orphaning {
  const schema::Resource& owner;
  std::string key, uid;
  std::vector<std::string> dependents;
};

void Sweeper::orphan(const schema::Resource& r, const std::string& key, const std::string& uid) {
  orphan_next(std::make_shared<Orphaning>(r, key, uid, index_.dependents(uid)));
}

void Sweeper::orphan_next(std::shared_ptr<Orphaning> o) {
  if (o->dependents.empty()) {
    return modify_object(
        core_, o->owner, o->key, [](json::Ref owner) { return drop_finalizer(owner, kOrphanFinalizer); },
        guarded([this, o](Result<bool> m) { finished(o->key, m.has_value()); }));
  }
  const std::string dependent = std::move(o->dependents.back());
  o->dependents.pop_back();
  const schema::Resource* r = resource_of_key(dependent);
  if (!r) return orphan_next(o);
  modify_object(
      core_, *r, dependent, [o](json::Ref object) { return forget_owners(object, {o->uid}); },
      guarded([this, o](Result<bool> m) {
        if (!m) return finished(o->key, false);
        core_.loop.defer(guarded([this, o] { orphan_next(o); }));
      }));
}

}  // namespace limpet::api

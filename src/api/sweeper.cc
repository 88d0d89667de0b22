#include "api/sweeper.h"

#include "api/bootstrap.h"
#include "api/deletion.h"
#include "api/modify.h"
#include "api/object.h"

namespace limpet::api {
namespace {

constexpr int64_t kRetryMs = 1000;

bool has_finalizer(json::Cursor meta, std::string_view name) {
  bool found = false;
  meta["finalizers"].each([&](std::string_view, json::Cursor f) {
    found = f.str_equals(name);
    return !found;
  });
  return found;
}

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

}  // namespace

Sweeper::Sweeper(Core& core)
    : core_(core), retry_(core.loop, "sweeper"), events_(core.loop, "event expiry") {}

Sweeper::~Sweeper() { stop(); }

void Sweeper::start() {
  alive_ = std::make_shared<int>(0);
  events_.repeat(core_.options.event_sweep_ms, [this] { expire_events(""); });
  load();
}

void Sweeper::stop() {
  alive_.reset();
  watch_.reset();
  retry_.stop();
  events_.stop();
}

// ---- knowing

struct Loading {
  store::Revision revision = 0;
  std::string after;
};

void Sweeper::load() {
  auto state = std::make_shared<Loading>();
  auto step = std::make_shared<std::function<void()>>();
  std::weak_ptr<std::function<void()>> weak = step;
  *step = [this, state, weak] {
    core_.store.durable().list("", state->after, state->revision, 0,
                               guarded([this, state, step = weak.lock()](Result<store::Page> page) {
                                 if (!page) return retry_.start(kRetryMs, [this] { load(); });
                                 state->revision = page->revision;
                                 for (const store::Item& item : page->items) {
                                   state->after = item.key;
                                   look_at(item.key, *item.value);
                                 }
                                 if (page->more) return core_.loop.defer(guarded([step] { (*step)(); }));
                                 follow(state->revision);
                               }));
  };
  (*step)();
}

void Sweeper::follow(store::Revision after) {
  store::Watch::Sink sink;
  sink.on_events = guarded([this](std::span<const store::Event> events) {
    for (const store::Event& e : events) on_event(e);
  });
  sink.on_lost = guarded([this](Error) {
    watch_.reset();
    core_.loop.defer(guarded([this] { load(); }));
  });
  Result<std::unique_ptr<store::Watch>> w = core_.store.durable().watch("", after, std::move(sink));
  if (w) {
    watch_ = std::move(*w);
  } else {
    retry_.start(kRetryMs, [this] { load(); });
  }
}

void Sweeper::on_event(const store::Event& e) {
  if (e.type != store::Event::Type::deleted) {
    // Most changes are of status; only a change of what matters here is looked at.
    if (e.type == store::Event::Type::modified && e.previous) {
      json::Cursor now = json::Cursor(*e.value)["metadata"], before = json::Cursor(*e.previous)["metadata"];
      if (now["ownerReferences"].raw() == before["ownerReferences"].raw() &&
          now["deletionTimestamp"].raw() == before["deletionTimestamp"].raw() &&
          now["finalizers"].raw() == before["finalizers"].raw()) {
        return;
      }
    }
    return look_at(e.key, *e.value);
  }
  if (std::string ns; is_companion(e.key, &ns)) restore_companions(core_, std::move(ns));
  for (const OwnerRef& o : read_owners(*e.value)) {
    auto it = owned_.find(o.uid);
    if (it == owned_.end()) continue;
    it->second.erase(e.key);
    if (it->second.empty()) owned_.erase(it);
    // An owner in foreground deletion may have waited for this one.
    if (const schema::Resource* r = resource_of_key(e.key)) {
      size_t slash = o.api_version.find('/');
      std::string group = slash == std::string::npos ? "" : o.api_version.substr(0, slash);
      std::string version = slash == std::string::npos ? o.api_version : o.api_version.substr(slash + 1);
      const schema::Resource* owner = schema::find_kind(group, version, o.kind);
      if (owner) enqueue(object_key(*owner, r->namespaced() ? read_meta(*e.value).ns : "", o.name));
    }
  }
  for (std::string& key : dependents(json::Cursor(*e.value)["metadata"]["uid"].str()))
    enqueue(std::move(key));
}

void Sweeper::look_at(const std::string& key, std::string_view stored) {
  std::vector<OwnerRef> owners = read_owners(stored);
  for (const OwnerRef& o : owners) owned_[o.uid].insert(key);
  bool deleting = stored.find("\"deletionTimestamp\"") != std::string_view::npos;
  if (!owners.empty() || deleting) enqueue(key);
}

std::vector<std::string> Sweeper::dependents(const std::string& uid) const {
  auto it = owned_.find(uid);
  if (it == owned_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

// ---- working

void Sweeper::enqueue(std::string key) {
  if (!queued_.insert(key).second) return;
  queue_.push_back(std::move(key));
  run();
}

void Sweeper::later(std::string key, int64_t delay_ms) {
  waiting_.insert(std::move(key));
  if (retry_.active()) return;
  retry_.start(delay_ms, [this] {
    std::set<std::string> keys = std::exchange(waiting_, {});
    for (const std::string& k : keys) enqueue(k);
  });
}

void Sweeper::run() {
  if (busy_ || !alive_) return;
  busy_ = true;
  core_.loop.defer(guarded([this] { next(); }));
}

void Sweeper::next() {
  busy_ = false;
  if (queue_.empty()) return;
  busy_ = true;
  std::string key = std::move(queue_.front());
  queue_.pop_front();
  queued_.erase(key);
  task(key);
}

void Sweeper::task(const std::string& key) {
  const schema::Resource* r = resource_of_key(key);
  if (!r) return next();
  core_.store.durable().get(key, guarded([this, r, key](Result<std::optional<store::Item>> got) {
                              if (!got || !*got) return core_.loop.defer(guarded([this] { next(); }));
                              task_object(*r, key, **got);
                            }));
}

void Sweeper::task_object(const schema::Resource& r, const std::string& key, const store::Item& item) {
  json::Cursor meta = json::Cursor(*item.value)["metadata"];
  std::string uid = meta["uid"].str();
  if (meta["deletionTimestamp"]) {
    if (has_finalizer(meta, kForegroundFinalizer)) return foreground(r, key, uid);
    if (has_finalizer(meta, kOrphanFinalizer)) return orphan(r, key, uid);
    if (r.group().empty() && r.plural() == "namespaces") {
      std::string name = meta["name"].str();
      return empty_namespace(core_, name, guarded([this, key, name](Result<bool> left) {
                               if (!left || *left) {
                                 later(key, kRetryMs);
                                 return next();
                               }
                               release_namespace(core_, name, guarded([this, key](Result<bool> gone) {
                                                   if (!gone) later(key, kRetryMs);
                                                   next();
                                                 }));
                             }));
    }
    return next();
  }
  std::vector<OwnerRef> owners = read_owners(*item.value);
  if (owners.empty()) return next();
  judge(r, key, uid, std::move(owners));
}

namespace {

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

void Sweeper::judge(const schema::Resource& r, std::string key, std::string uid,
                    std::vector<OwnerRef> owners) {
  auto ask = std::make_shared<Inquiry>(core_);
  size_t first = key.find('/'), last = key.rfind('/');
  if (r.namespaced() && last > first) ask->ns = key.substr(first + 1, last - first - 1);
  ask->owners = std::move(owners);
  Inquiry* q = ask.get();
  ask->done = guarded([this, q, &r, key, uid](Result<> asked) {
    auto finished = [this, key](bool good) {
      if (!good) later(key, kRetryMs);
      next();
    };
    if (!asked) return finished(false);
    Verdict v = judge_dependent(q->owners, q->states);
    if (v.action == Verdict::Action::keep) return finished(true);
    if (v.action == Verdict::Action::trim) {
      return modify_object(
          core_, r, key, [dead = v.dead](json::Ref o) { return forget_owners(o, dead); },
          guarded([finished](Result<bool> m) { finished(m.has_value()); }));
    }
    DeleteOptions options;
    options.uid = uid;
    options.propagation = "Background";
    run_delete(core_, r, key, std::move(options), guarded([finished](Outcome<Deletion> d) {
                 finished(d || d.error().code == 404 || d.error().code == 409);
               }));
  });
  ask->step();
}

void Sweeper::foreground(const schema::Resource& r, const std::string& key, const std::string& uid) {
  std::vector<std::string> keys = dependents(uid);
  if (!keys.empty()) {
    for (std::string& k : keys) enqueue(std::move(k));
    return next();  // comes back with each of them that goes
  }
  modify_object(
      core_, r, key, [](json::Ref o) { return drop_finalizer(o, kForegroundFinalizer); },
      guarded([this, key](Result<bool> m) {
        if (!m) later(key, kRetryMs);
        next();
      }));
}

void Sweeper::orphan(const schema::Resource& r, const std::string& key, const std::string& uid) {
  std::vector<std::string> keys = dependents(uid);
  if (keys.empty()) {
    return modify_object(
        core_, r, key, [](json::Ref o) { return drop_finalizer(o, kOrphanFinalizer); },
        guarded([this, key](Result<bool> m) {
          if (!m) later(key, kRetryMs);
          next();
        }));
  }
  const std::string dependent = keys.front();
  const schema::Resource* dr = resource_of_key(dependent);
  if (!dr) return next();
  modify_object(
      core_, *dr, dependent, [uid](json::Ref o) { return forget_owners(o, {uid}); },
      guarded([this, key, uid, dependent](Result<bool> m) {
        if (m) {
          auto it = owned_.find(uid);
          if (it != owned_.end()) {
            it->second.erase(dependent);
            if (it->second.empty()) owned_.erase(it);
          }
          enqueue(key);
        } else {
          later(key, kRetryMs);
        }
        next();
      }));
}

// ---- events

void Sweeper::expire_events(std::string after) {
  if (core_.store.transient().count("events/") == 0) return;
  std::string limit = rfc3339({core_.clock.wall().seconds - core_.options.event_ttl_s, 0});
  core_.store.transient().list("events/", after, 0, 0, guarded([this, limit](Result<store::Page> page) {
                                 if (!page || page->items.empty()) return;
                                 store::Txn txn;
                                 for (const store::Item& item : page->items) {
                                   json::Cursor e(*item.value);
                                   std::string seen = e["lastTimestamp"].str();
                                   if (seen.empty()) seen = e["series"]["lastObservedTime"].str();
                                   if (seen.empty()) seen = e["eventTime"].str();
                                   if (seen.empty()) seen = e["metadata"]["creationTimestamp"].str();
                                   if (seen < limit)
                                     txn.ops.push_back({store::Op::Type::remove, item.key, "", std::nullopt});
                                 }
                                 auto go_on = [this, more = page->more, last = page->items.back().key] {
                                   if (more) core_.loop.defer(guarded([this, last] { expire_events(last); }));
                                 };
                                 if (txn.ops.empty()) return go_on();
                                 core_.store.transient().commit(std::move(txn),
                                                                guarded([go_on](Result<store::Committed> c) {
                                                                  if (c) go_on();
                                                                }));
                               }));
}

}  // namespace limpet::api

#include "api/sweeper.h"

#include "api/bootstrap.h"
#include "api/modify.h"
#include "api/object.h"
#include "api/removal.h"

namespace limpet::api {
namespace {

constexpr int64_t kRetryMs = 1000;

// How an object asks for its own dependents to be treated.
const char* policy_of(json::Cursor meta) {
  if (has_finalizer(meta, kOrphanFinalizer)) return "Orphan";
  return has_finalizer(meta, kForegroundFinalizer) ? "Foreground" : "Background";
}

}  // namespace

Sweeper::Sweeper(Core& core)
    : core_(core),
      reload_(core.loop, "sweeper index"),
      retry_(core.loop, "sweeper"),
      events_(core.loop, "event expiry") {}

Sweeper::~Sweeper() { stop(); }

void Sweeper::start() {
  alive_ = std::make_shared<int>(0);
  term_ = core_.work_term;
  events_.repeat(core_.options.event_sweep_ms, [this] { expire_events(""); });
  load();
}

void Sweeper::stop() {
  alive_.reset();
  watch_.reset();
  reload_.stop();
  retry_.stop();
  events_.stop();
  busy_ = false;
  queue_.clear();
  queued_.clear();
  waiting_.clear();
  index_.clear();
}

// ---- knowing

struct Loading {
  store::Revision revision = 0;
  std::string after;
};

void Sweeper::load() {
  index_.clear();  // after a lost watch: what went meanwhile is not told
  auto state = std::make_shared<Loading>();
  auto step = std::make_shared<std::function<void()>>();
  std::weak_ptr<std::function<void()>> weak = step;
  *step = [this, state, weak] {
    core_.store.durable().list("", state->after, state->revision, 0,
                               guarded([this, state, step = weak.lock()](Result<store::Page> page) {
                                 if (!page) return reload_.start(kRetryMs, [this] { load(); });
                                 state->revision = page->revision;
                                 for (const store::Item& item : page->items) {
                                   state->after = item.key;
                                   index_.update(item.key, "", *item.value);
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
  if (!w) return reload_.start(kRetryMs, [this] { load(); });
  watch_ = std::move(*w);
  run();
}

void Sweeper::on_event(const store::Event& e) {
  using Type = store::Event::Type;
  // Most changes are of status; only a change of what matters here is looked at.
  if (e.type == Type::modified) {
    if (std::string ns; e.key.starts_with("configmaps/") && is_companion(e.key, &ns))
      refresh_root_ca(core_, std::move(ns));
    json::Cursor now = json::Cursor(*e.value)["metadata"], before = json::Cursor(*e.previous)["metadata"];
    if (now["ownerReferences"].raw() == before["ownerReferences"].raw() &&
        now["deletionTimestamp"].raw() == before["deletionTimestamp"].raw() &&
        now["finalizers"].raw() == before["finalizers"].raw()) {
      return;
    }
  }
  const bool gone = e.type == Type::deleted;
  std::string_view before = gone ? *e.value : e.type == Type::modified ? *e.previous : std::string_view();
  for (std::string& owner : index_.update(e.key, before, gone ? std::string_view() : *e.value)) {
    enqueue(std::move(owner));
  }
  if (!gone) return look_at(e.key, *e.value);
  if (std::string ns; is_companion(e.key, &ns)) restore_companions(core_, std::move(ns));
  for (std::string& key : index_.dependents(json::Cursor(*e.value)["metadata"]["uid"].str())) {
    enqueue(std::move(key));
  }
}

void Sweeper::look_at(const std::string& key, std::string_view stored) {
  bool deleting = stored.find("\"deletionTimestamp\"") != std::string_view::npos;
  if (deleting || !read_owners(stored).empty()) enqueue(key);
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

// Not before everything is known: an owner that waits for dependents which are still to be read would go.
void Sweeper::run() {
  if (busy_ || !alive_ || !watch_) return;
  busy_ = true;
  core_.loop.defer(guarded([this] { next(); }));
}

void Sweeper::next() {
  busy_ = false;
  if (queue_.empty() || !watch_) return;
  busy_ = true;
  std::string key = std::move(queue_.front());
  queue_.pop_front();
  queued_.erase(key);
  task(key);
}

void Sweeper::task(const std::string& key) {
  const schema::Resource* r = resource_of_key(key);
  if (!r) return next();
  core_.space(*r).get(key, guarded([this, r, key](Result<std::optional<store::Item>> got) {
                        if (!got || !*got) return core_.loop.defer(guarded([this] { next(); }));
                        task_object(*r, key, **got);
                      }));
}

void Sweeper::task_object(const schema::Resource& r, const std::string& key, const store::Item& item) {
  json::Cursor meta = json::Cursor(*item.value)["metadata"];
  std::string uid = meta["uid"].str();
  if (!meta["deletionTimestamp"]) {
    std::vector<OwnerRef> owners = read_owners(*item.value);
    if (owners.empty()) return next();
    return judge({&r, key, uid, policy_of(meta), item.mod_revision}, std::move(owners));
  }
  bool waits = has_finalizer(meta, kForegroundFinalizer), orphans = has_finalizer(meta, kOrphanFinalizer);
  const bool durable = r.storage() == schema::Storage::durable;  // others have versions of another line
  if ((waits || orphans) && durable && !up_to(item.mod_revision)) return finished(key, false);
  if (waits) return foreground(r, key, uid);
  if (orphans) return orphan(r, key, uid);
  if (r.group().empty() && r.plural() == "namespaces") return end_namespace(key, meta["name"].str());
  next();
}

bool Sweeper::up_to(store::Revision revision) const { return watch_ && watch_->position() >= revision; }

void Sweeper::finished(const std::string& key, bool good) {
  if (!good) later(key, kRetryMs);
  next();
}

void Sweeper::end_namespace(const std::string& key, const std::string& name) {
  empty_namespace(core_, name, guarded([this, key, name](Result<NamespaceRest> rest) {
                    if (!rest) return finished(key, false);
                    if (rest->empty()) {
                      return release_namespace(core_, name, guarded([this, key](Result<bool> gone) {
                                                 finished(key, gone.has_value());
                                               }));
                    }
                    modify_object(
                        core_, *resource_of_key(key), key,
                        [rest = *rest, now = core_.clock.wall()](json::Ref ns) {
                          return set_namespace_conditions(ns, rest, now);
                        },
                        guarded([this, key](Result<bool>) { finished(key, false); }));
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
                                 core_.commit(core_.store.transient(), term_, std::move(txn),
                                              guarded([go_on](Result<store::Committed> c) {
                                                if (c) go_on();
                                              }));
                               }));
}

}  // namespace limpet::api

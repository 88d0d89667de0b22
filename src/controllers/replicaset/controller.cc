// Keeps the pods of replica sets in number: watches both, lets plan() decide, and does it.
#include <algorithm>

#include "controllers/replicaset/pod.h"
#include "controllers/replicaset/reconcile.h"
#include "controllers/shell.h"

namespace limpet::controllers::replicaset {
namespace {

constexpr const char* kName = "replicaset-controller";
constexpr const char* kKind = "ReplicaSet";
constexpr const char* kVersion = "apps/v1";
constexpr int kPods = 0;  // the only cache that is waited for

std::string pods_path(const Object& set) { return "/api/v1/namespaces/" + set.ns + "/pods"; }
std::string set_path(const Object& set) {
  return "/apis/apps/v1/namespaces/" + set.ns + "/replicasets/" + set.name;
}

struct ReplicaSetController final : Shell {
  ReplicaSetController(const Context& c, Caches& all)
      : Shell(c, all, kName,
              [this](const std::string& key, Driver::Done done) { sync(key, std::move(done)); }) {
    caches.pods.listen([this](const PodView* old, const PodView* now) { pod_changed(old, now); });
    caches.replica_sets.listen([this](const ReplicaSetView* old, const ReplicaSetView* now) {
      driver.add((now ? now : old)->key());
    });
  }

  // ---- whose pod is it

  void wake_owner(const PodView& pod) {
    if (pod.controller.kind == kKind) driver.add(pod.ns + "/" + pod.controller.name);
  }

  void wake_takers(const PodView& orphan) {
    if (orphan.labels.empty()) return;
    for (const ReplicaSetView* set : caches.replica_sets.in_namespace(orphan.ns)) {
      const auto selector = schema::LabelSelector::from_object(json::Cursor(set->selector));
      if (selector && orphan.matches(*selector)) driver.add(set->key());
    }
  }

  void pod_changed(const PodView* old, const PodView* now) {
    if (old && (!now || old->controller.uid != now->controller.uid)) wake_owner(*old);
    if (!now) return;
    if (!now->controller.none()) return wake_owner(*now);
    // News of an orphan matter when it is one newly, or looks different to selectors.
    if (!old || !old->controller.none() || old->labels != now->labels) wake_takers(*now);
  }

  // ---- a sync

  bool caught_up(const std::string& key) {
    return expected.met(
        key, now_ms(), [this](int) { return caches.pods.version(); },
        [this](const std::string& pod, const std::string& uid) {
          const PodView* v = caches.pods.get(pod);
          return !v || v->uid != uid;
        });
  }

  std::vector<const PodView*> related(const ReplicaSetView& set) const {
    std::vector<const PodView*> out;
    std::vector<const ReplicaSetView*> sets;
    if (!set.controller.none()) sets = caches.replica_sets.of_controller(set.controller.uid);
    if (sets.empty()) sets = {&set};
    for (const ReplicaSetView* s : sets) {
      for (const PodView* pod : caches.pods.of_controller(s->uid)) out.push_back(pod);
    }
    return out;
  }

  void sync(const std::string& key, Driver::Done done);
};

// One sync under way. Views of the caches change meanwhile: it works on copies of what it needs.
struct Run : std::enable_shared_from_this<Run> {
  ReplicaSetController& c;
  ReplicaSetView set;
  ReplicaSetStatus status;  // to be written, without what fails on the way
  std::string key, failure;
  std::vector<PodView> pods;  // what the plan's pointers point to
  Plan plan;
  bool caught_up;
  int64_t batch = 0, left = 0;
  size_t under_way = 0;
  Error error;
  json::Value fresh;  // the set as the API has it, for pods that are made from it

  Run(ReplicaSetController& impl, const ReplicaSetView& s) : c(impl), set(s), key(s.key()) {}

  client::ObjectRef ref() const { return {kKind, set.ns, set.name, set.uid, "", kVersion}; }
  void say(bool warning, const char* reason, const std::string& message) {
    c.context.events.event(kName, ref(), warning, reason, message);
  }

  void decide() {
    State state{set, {}, {}, c.caught_up(key), c.context.timing.wall()};
    caught_up = state.caught_up;
    std::vector<const PodView*> seen = c.caches.pods.of_controller(set.uid);
    const std::vector<const PodView*> orphans = c.caches.pods.orphans(set.ns);
    const auto selector = schema::LabelSelector::from_object(json::Cursor(set.selector));
    for (const PodView* orphan : orphans) {
      if (selector && orphan->matches(*selector)) seen.push_back(orphan);
    }
    pods.reserve(seen.size());
    for (const PodView* pod : seen) {
      pods.push_back(*pod);
      state.pods.push_back(&pods.back());
    }
    state.related = c.related(set);
    plan = replicaset::plan(state);
  }

  void start(Driver::Done done) {
    decide();
    std::vector<Step> steps;
    // Pods are adopted and made only for a set that is still wanted; the cache may not know yet.
    if (!plan.adopt.empty() || plan.create > 0) {
      steps.push_back([self = shared_from_this()](Next next) { self->look(std::move(next)); });
    }
    for (const PodView* pod : plan.adopt) {
      steps.push_back([self = shared_from_this(), pod](Next next) { self->claim(*pod, true, next); });
    }
    for (const PodView* pod : plan.release) {
      steps.push_back([self = shared_from_this(), pod](Next next) { self->claim(*pod, false, next); });
    }
    if (plan.create > 0) {
      steps.push_back([self = shared_from_this()](Next next) {
        self->left = self->plan.create;
        self->create(std::move(next));
      });
    }
    if (!plan.remove.empty()) {
      steps.push_back([self = shared_from_this()](Next next) { self->remove(std::move(next)); });
    }
    steps.push_back([self = shared_from_this()](Next next) { self->report(std::move(next)); });
    in_order(std::move(steps), [self = shared_from_this(), done = std::move(done)](Result<> r) {
      if (r && !self->failure.empty()) r = std::unexpected(self->error);
      done(std::move(r));
    });
  }

  void look(Next next) {
    c.calls.get(set_path(set), [self = shared_from_this(), next](Result<client::Reply> reply) {
      if (!reply) return next(std::unexpected(std::move(reply).error().with("read the replica set")));
      Result<json::Value> tree = json::parse(reply->body);
      if (!tree) return next(std::unexpected(tree.error()));
      const json::Ref meta = tree->ref()["metadata"];
      if (meta["uid"].str() != self->set.uid || meta["deletionTimestamp"]) {
        return next(fail(Errc::conflict, "the replica set is being deleted"));
      }
      self->fresh = std::move(*tree);
      next({});
    });
  }

  void claim(const PodView& pod, bool adopt, const Next& next) {
    std::string body = adopt ? adopt_patch(pod, set, kVersion, kKind) : release_patch(pod, set);
    c.calls.patch_lists(pods_path(set) + "/" + pod.name, std::move(body),
                        [self = shared_from_this(), next, adopt](Result<client::Reply> reply) {
                          if (reply) {
                            self->c.wrote(self->key, kPods, *reply);
                            return next({});
                          }
                          // A pod that is gone or replaced needs nothing any more.
                          const bool gone = reply.error().code == Errc::not_found ||
                                            (!adopt && reply.error().code == Errc::conflict);
                          if (gone) return next({});
                          next(std::unexpected(std::move(reply).error().with("claim a pod")));
                        });
  }

  // ---- creations, in batches that double

  void create(Next next) {
    batch = failure.empty() ? next_batch(batch, left) : 0;
    if (batch == 0) return next({});
    left -= batch;
    under_way = static_cast<size_t>(batch);
    const std::string body = pod_from_template(fresh);
    for (int64_t i = 0; i < batch; i++) {
      c.calls.create(pods_path(set), body, [self = shared_from_this(), next](Result<client::Reply> reply) {
        self->created(std::move(reply));
        if (--self->under_way == 0) self->create(next);
      });
    }
  }

  void created(Result<client::Reply> reply) {
    if (reply) {
      c.wrote(key, kPods, *reply);
      return say(false, "SuccessfulCreate",
                 "Created pod: " + json::Cursor(reply->body)["metadata"]["name"].str());
    }
    note(reply.error());
    say(true, "FailedCreate", "Error creating: " + reply.error().message);
  }

  void note(const Error& e) {
    if (!failure.empty()) return;
    failure = e.message;
    error = e;
  }

  // ---- deletions

  void remove(Next next) {
    under_way = plan.remove.size();
    for (const PodView* pod : plan.remove) {
      c.calls.remove(pods_path(set) + "/" + pod->name, pod->uid,
                     [self = shared_from_this(), pod, next](Result<client::Reply> reply) {
                       self->removed(*pod, std::move(reply));
                       if (--self->under_way == 0) next({});
                     });
    }
  }

  void removed(const PodView& pod, Result<client::Reply> reply) {
    if (reply) {
      // A pod that ends in its own time is answered with its new version, one that is gone is not.
      if (json::Cursor(reply->body)["metadata"]["deletionTimestamp"]) {
        c.wrote(key, kPods, *reply);
      } else {
        c.removed(key, pod);
      }
      return say(false, "SuccessfulDelete", "Deleted pod: " + pod.name);
    }
    if (reply.error().code == Errc::not_found || reply.error().code == Errc::conflict) return;
    note(reply.error());
    say(true, "FailedDelete", "Error deleting: " + reply.error().message);
  }

  // ---- status

  void report(const Next& next) {
    const WallTime now = c.context.timing.wall();
    status = status_of(set, plan, failure, now);
    if (status.ready != status.available) {
      const int64_t ms = next_availability_ms(set, plan.active, now);
      if (ms >= 0) c.driver.add_after(key, ms);
    }
    if (status == set.status) return next({});
    c.calls.patch(set_path(set) + "/status", status_patch(set, status),
                  [self = shared_from_this(), next](Result<client::Reply> reply) {
                    if (reply) return next({});
                    if (reply.error().code == Errc::not_found) return next({});  // gone meanwhile
                    next(std::unexpected(std::move(reply).error().with("write the status")));
                  });
  }
};

void ReplicaSetController::sync(const std::string& key, Driver::Done done) {
  const ReplicaSetView* set = caches.replica_sets.get(key);
  if (!set) {
    expected.forget(key);
    return done({});
  }
  std::make_shared<Run>(*this, *set)->start(std::move(done));
}

}  // namespace

std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches) {
  return std::make_unique<ReplicaSetController>(context, caches);
}

}  // namespace limpet::controllers::replicaset

// Rolls deployments out: watches them, their replica sets and pods, lets plan() decide, and does it.
#include "controllers/deployment/reconcile.h"
#include "controllers/deployment/set.h"
#include "controllers/shell.h"

namespace limpet::controllers::deployment {
namespace {

constexpr const char* kName = "deployment-controller";
constexpr const char* kKind = "Deployment";
constexpr const char* kVersion = "apps/v1";
enum { kSets, kDeployments };  // the caches, for expectations

std::string sets_path(const Object& o) { return "/apis/apps/v1/namespaces/" + o.ns + "/replicasets"; }
std::string deployment_path(const Object& o) {
  return "/apis/apps/v1/namespaces/" + o.ns + "/deployments/" + o.name;
}

struct DeploymentController final : Shell {
  DeploymentController(const Context& c, Caches& all)
      : Shell(c, all, kName,
              [this](const std::string& key, Driver::Done done) { sync(key, std::move(done)); }) {
    caches.deployments.listen([this](const DeploymentView* old, const DeploymentView* now) {
      driver.add((now ? now : old)->key());
    });
    caches.replica_sets.listen(
        [this](const ReplicaSetView* old, const ReplicaSetView* now) { set_changed(old, now); });
    caches.pods.listen([this](const PodView* old, const PodView* now) { pod_changed(old, now); });
  }

  void wake_owner(const ReplicaSetView& set) {
    if (set.controller.kind == kKind) driver.add(set.ns + "/" + set.controller.name);
  }

  void set_changed(const ReplicaSetView* old, const ReplicaSetView* now) {
    if (old && (!now || old->controller.uid != now->controller.uid)) wake_owner(*old);
    if (!now) return;
    if (!now->controller.none()) return wake_owner(*now);
    if (now->labels.empty() || (old && old->controller.none() && old->labels == now->labels)) return;
    for (const DeploymentView* d : caches.deployments.in_namespace(now->ns)) {
      const auto selector = schema::LabelSelector::from_object(json::Cursor(d->selector));
      if (selector && now->matches(*selector)) driver.add(d->key());
    }
  }

  // Recreate waits for the last old pod to go; everything else is told by the replica sets.
  void pod_changed(const PodView* old, const PodView* now) {
    if (!old || (now && now->finished() == old->finished()) || old->controller.kind != "ReplicaSet") return;
    const ReplicaSetView* set = caches.replica_sets.get(old->ns + "/" + old->controller.name);
    if (!set || set->controller.kind != kKind) return;
    const DeploymentView* d = caches.deployments.get(set->ns + "/" + set->controller.name);
    if (d && !d->rolling) driver.add(d->key());
  }

  bool caught_up(const std::string& key) {
    return expected.met(
        key, now_ms(),
        [this](int kind) {
          return kind == kSets ? caches.replica_sets.version() : caches.deployments.version();
        },
        [this](const std::string& set, const std::string& uid) {
          const ReplicaSetView* v = caches.replica_sets.get(set);
          return !v || v->uid != uid;
        });
  }

  void sync(const std::string& key, Driver::Done done);
};

// One sync under way. Views of the caches change meanwhile: it works on copies.
struct Run : std::enable_shared_from_this<Run> {
  DeploymentController& c;
  DeploymentView d;
  std::string key;
  std::vector<ReplicaSetView> adopt, release;
  Plan plan;
  json::Value fresh;  // the deployment as the API has it, for a set that is made from it

  Run(DeploymentController& impl, const DeploymentView& view) : c(impl), d(view), key(view.key()) {}

  void say(bool warning, const char* reason, const std::string& message) {
    c.context.events.event(kName, {kKind, d.ns, d.name, d.uid, "", kVersion}, warning, reason, message);
  }

  void decide() {
    State state{d, {}, {}, c.context.timing.wall()};
    const auto selector = schema::LabelSelector::from_object(json::Cursor(d.selector));
    if (!selector) return;
    std::vector<const ReplicaSetView*> seen = c.caches.replica_sets.of_controller(d.uid);
    for (const ReplicaSetView* orphan : c.caches.replica_sets.orphans(d.ns)) seen.push_back(orphan);
    for (const ReplicaSetView* set : seen) {
      const Claim claimed = claim(d, *selector, *set);
      if (claimed == Claim::adopt) adopt.push_back(*set);
      if (claimed == Claim::release) release.push_back(*set);
      if (claimed == Claim::mine) state.sets.push_back(*set);
    }
    for (const ReplicaSetView& set : state.sets) {
      for (const PodView* pod : c.caches.pods.of_controller(set.uid)) {
        if (!pod->finished()) state.with_pods.insert(set.uid);
      }
    }
    plan = deployment::plan(std::move(state));
  }

  void start(Driver::Done done) {
    decide();
    std::vector<Step> steps;
    const auto add = [&steps, self = shared_from_this()](auto f) {
      steps.push_back([self, f](Next next) { f(*self, std::move(next)); });
    };
    if (!adopt.empty() || !release.empty()) {
      // Who belongs to it changes everything: what comes is decided when the cache shows it.
      if (!adopt.empty()) add([](Run& r, Next next) { r.look(std::move(next)); });
      for (const ReplicaSetView& set : adopt)
        add([&set](Run& r, Next next) { r.claim_set(set, true, std::move(next)); });
      for (const ReplicaSetView& set : release)
        add([&set](Run& r, Next next) { r.claim_set(set, false, std::move(next)); });
      return in_order(std::move(steps), std::move(done));
    }
    if (plan.again_ms >= 0) c.driver.add_after(key, plan.again_ms);
    for (const Change& change : plan.changes)
      add([&change](Run& r, Next next) { r.change(change, std::move(next)); });
    for (const ReplicaSetView& set : plan.remove)
      add([&set](Run& r, Next next) { r.remove(set, std::move(next)); });
    if (plan.create) {
      add([](Run& r, Next next) { r.look(std::move(next)); });
      add([](Run& r, Next next) { r.create(std::move(next)); });
    } else {
      add([](Run& r, Next next) { r.report(r.plan.status, r.plan.revision, std::move(next)); });
    }
    in_order(std::move(steps), std::move(done));
  }

  // ---- steps

  void look(Next next) {
    c.calls.get(deployment_path(d), [self = shared_from_this(), next](Result<client::Reply> reply) {
      if (!reply) return next(std::unexpected(std::move(reply).error().with("read the deployment")));
      Result<json::Value> tree = json::parse(reply->body);
      if (!tree) return next(std::unexpected(tree.error()));
      const json::Ref meta = tree->ref()["metadata"];
      // A set is made of exactly what was planned with.
      if (meta["uid"].str() != self->d.uid || meta["deletionTimestamp"] ||
          template_digest(json::Cursor(reply->body)["spec"]["template"]) != self->d.template_digest) {
        return next(fail(Errc::conflict, "the deployment changed meanwhile"));
      }
      self->fresh = std::move(*tree);
      next({});
    });
  }

  void claim_set(const ReplicaSetView& set, bool take, Next next) {
    std::string body = take ? adopt_patch(set, d, kVersion, kKind) : release_patch(set, d);
    c.calls.patch_lists(
        sets_path(d) + "/" + set.name, std::move(body),
        [self = shared_from_this(), next](Result<client::Reply> reply) {
          if (!reply && reply.error().code != Errc::not_found)
            return next(std::unexpected(std::move(reply).error().with("claim a replica set")));
          if (reply) self->c.wrote(self->key, kSets, *reply);
          next({});
        });
  }

  void change(const Change& change, Next next) {
    c.calls.patch(sets_path(d) + "/" + change.before.name, set_patch(change),
                  [self = shared_from_this(), &change, next](Result<client::Reply> reply) {
                    if (!reply) {
                      return next(std::unexpected(
                          std::move(reply).error().with("change replica set " + change.before.name)));
                    }
                    self->c.wrote(self->key, kSets, *reply);
                    if (change.resized()) {
                      self->tell_size(change.before.name, change.before.replicas, change.replicas);
                    }
                    next({});
                  });
  }

  void tell_size(const std::string& set, int64_t from, int64_t to) {
    say(false, "ScalingReplicaSet",
        std::string("Scaled ") + (from < to ? "up" : "down") + " replica set " + set + " from " +
            std::to_string(from) + " to " + std::to_string(to));
  }

  void remove(const ReplicaSetView& set, Next next) {
    c.calls.remove(
        sets_path(d) + "/" + set.name, set.uid,
        [self = shared_from_this(), &set, next](Result<client::Reply> reply) {
          if (!reply && reply.error().code != Errc::not_found && reply.error().code != Errc::conflict)
            return next(std::unexpected(std::move(reply).error().with("delete " + set.name)));
          self->c.removed(self->key, set);
          next({});
        });
  }

  void report(const DeploymentStatus& status, const std::string& revision, Next next) {
    if (status == d.status && revision.empty()) return next({});
    c.calls.patch(deployment_path(d) + "/status", status_patch(d, status, revision),
                  [self = shared_from_this(), next](Result<client::Reply> reply) {
                    if (!reply && reply.error().code == Errc::not_found) return next({});  // gone meanwhile
                    if (!reply)
                      return next(std::unexpected(std::move(reply).error().with("write the status")));
                    self->c.wrote(self->key, kDeployments, *reply);
                    next({});
                  });
  }

  void create(Next next) {
    c.calls.create(sets_path(d), set_from_deployment(fresh, *plan.create),
                   [self = shared_from_this(), next](Result<client::Reply> reply) {
                     if (reply) return self->created(*reply, next);
                     if (reply.error().code == Errc::already_exists) return self->collided(next);
                     self->create_failed(std::move(reply).error(), next);
                   });
  }

  void created(const client::Reply& reply, const Next& next) {
    c.wrote(key, kSets, reply);
    const NewSet& set = *plan.create;
    if (set.replicas > 0) tell_size(set.name, 0, set.replicas);
    report(status_created(d, set.name, c.context.timing.wall()), set.revision, next);
  }

  // The name is taken: by a set of ours that the cache has not shown yet, or by something else.
  void collided(const Next& next) {
    c.calls.get(sets_path(d) + "/" + plan.create->name,
                [self = shared_from_this(), next](Result<client::Reply> reply) {
                  if (!reply) return next(std::unexpected(reply.error()));
                  const ReplicaSetView set = read_replica_set(json::Cursor(reply->body));
                  if (set.controller.uid == self->d.uid && set.template_digest == self->d.template_digest) {
                    self->c.wrote(self->key, kSets, *reply);
                    return next({});
                  }
                  self->report(status_collided(self->d), "", next);
                });
  }

  void create_failed(Error error, const Next& next) {
    const std::string message =
        "Failed to create new replica set \"" + plan.create->name + "\": " + error.message;
    say(true, "ReplicaSetCreateError", message);
    report(status_create_failed(d, message, c.context.timing.wall()), "",
           [next, error](Result<>) { next(std::unexpected(error)); });
  }
};

void DeploymentController::sync(const std::string& key, Driver::Done done) {
  const DeploymentView* d = caches.deployments.get(key);
  if (!d) {
    expected.forget(key);
    return done({});
  }
  // What was written and is not seen yet comes with a change, which comes here again.
  if (!caught_up(key)) return done({});
  std::make_shared<Run>(*this, *d)->start(std::move(done));
}

}  // namespace

std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches) {
  return std::make_unique<DeploymentController>(context, caches);
}

}  // namespace limpet::controllers::deployment

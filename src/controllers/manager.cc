#include "controllers/manager.h"

#include "controllers/deployment/controller.h"
#include "controllers/replicaset/controller.h"

namespace limpet::controllers {

Caches::Caches(const Context& c)
    : pods(c.loop, c.client, c.random, "/api/v1/pods", read_pod),
      replica_sets(c.loop, c.client, c.random, "/apis/apps/v1/replicasets", read_replica_set),
      deployments(c.loop, c.client, c.random, "/apis/apps/v1/deployments", read_deployment) {}

// The controllers go before the caches whose listeners they are.
struct Manager::Impl {
  Context context;
  Caches caches;
  replicaset::Controller replica_sets;
  deployment::Controller deployments;

  explicit Impl(Context c)
      : context(c), caches(context), replica_sets(context, caches), deployments(context, caches) {
    const auto synced = [this] { begin(); };
    caches.pods.on_synced(synced);
    caches.replica_sets.on_synced(synced);
    caches.deployments.on_synced(synced);
  }

  bool synced() const {
    return caches.pods.synced() && caches.replica_sets.synced() && caches.deployments.synced();
  }

  // Nobody counts before everything is there.
  void begin() {
    if (!synced()) return;
    replica_sets.start();
    deployments.start();
  }
};

Manager::Manager(Context context) : impl_(std::make_unique<Impl>(context)) {}
Manager::~Manager() = default;

void Manager::start() {
  impl_->caches.deployments.start();
  impl_->caches.replica_sets.start();
  impl_->caches.pods.start();
}

bool Manager::synced() const { return impl_->synced(); }

}  // namespace limpet::controllers

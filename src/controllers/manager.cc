#include "controllers/manager.h"

#include "controllers/controller.h"

namespace limpet::controllers {

Caches::Caches(const Context& c)
    : pods(c.loop, c.client, c.random, "/api/v1/pods", read_pod),
      replica_sets(c.loop, c.client, c.random, "/apis/apps/v1/replicasets", read_replica_set),
      deployments(c.loop, c.client, c.random, "/apis/apps/v1/deployments", read_deployment),
      nodes(c.loop, c.client, c.random, "/api/v1/nodes", read_node),
      leases(c.loop, c.client, c.random, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
             read_lease),
      tokens(c.loop, c.client, c.random, "/api/v1/namespaces/kube-system/secrets", read_token,
             "fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken") {}

// The controllers go before the caches whose listeners they are.
struct Manager::Impl {
  Context context;
  Caches caches;
  const std::unique_ptr<Controller> replica_sets, deployments, nodes, tokens;

  Impl(Context c, const NodeOptions& n)
      : context(c),
        caches(context),
        replica_sets(replicaset::make_controller(context, caches)),
        deployments(deployment::make_controller(context, caches)),
        nodes(nodelifecycle::make_controller(context, caches, n)),
        tokens(tokencleaner::make_controller(context, caches)) {
    const auto synced = [this] { begin(); };
    caches.pods.on_synced(synced);
    caches.replica_sets.on_synced(synced);
    caches.deployments.on_synced(synced);
    caches.nodes.on_synced(synced);
    caches.leases.on_synced(synced);
    caches.tokens.on_synced(synced);
  }

  bool workloads_synced() const {
    return caches.pods.synced() && caches.replica_sets.synced() && caches.deployments.synced();
  }
  bool nodes_synced() const {
    return caches.pods.synced() && caches.nodes.synced() && caches.leases.synced();
  }
  bool synced() const { return workloads_synced() && nodes_synced() && caches.tokens.synced(); }

  // Nobody counts before everything that counts is there.
  void begin() {
    if (workloads_synced()) {
      replica_sets->start();
      deployments->start();
    }
    if (nodes_synced()) nodes->start();
    if (caches.tokens.synced()) tokens->start();
  }
};

Manager::Manager(Context context, NodeOptions nodes) : impl_(std::make_unique<Impl>(context, nodes)) {}
Manager::~Manager() = default;

void Manager::start() {
  impl_->caches.deployments.start();
  impl_->caches.replica_sets.start();
  impl_->caches.pods.start();
  impl_->caches.nodes.start();
  impl_->caches.leases.start();
  impl_->caches.tokens.start();
}

bool Manager::synced() const { return impl_->synced(); }

}  // namespace limpet::controllers

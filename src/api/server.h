// The API server of a device: authenticates, authorises, admits, and serves the objects of the store.
//
// Owned by the daemon, lives on the loop's thread. handler() may be given to any number of transports (TLS,
// the unix socket, the in-process client); requests that come after stop() are answered with 503.
#pragma once

#include <functional>
#include <memory>

#include "api/cluster_access.h"
#include "api/metrics.h"
#include "api/node_access.h"
#include "api/options.h"
#include "base/clock.h"
#include "base/random.h"
#include "http/message.h"
#include "loop/loop.h"
#include "store/store.h"

namespace limpet::api {

class ApiServer {
 public:
  // `nodes` may be null: then logs, exec and attach are answered with 503.
  ApiServer(loop::Loop& loop, Clock& clock, Random& random, store::Store& store, Options options,
            NodeAccess* nodes);
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;

  http::Handler handler();
  // Where this server leads, now or later: makes the built-in namespaces, then garbage collection and the end
  // of namespaces begin; elsewhere waits until the namespaces have come from the leader. /readyz is green
  // after `done`, while a leader is known.
  void start(std::function<void(Result<>)> done);
  // Ends watches and sessions in good order and refuses new requests.
  void stop();
  void set_nodes(NodeAccess* nodes);
  // Before start(); null (as at first): a device that is a cluster of its own.
  void set_cluster(ClusterAccess* cluster);
  // Who leads, or in which term, is not what it was: background work begins or ends, what waited for a leader
  // goes on, and what served volatile kinds here ends; all on a later turn of the loop, so that it may be
  // called from inside of what tells of it. What was decided in another term is refused from the moment of
  // it.
  void leadership_changed();
  // The authority's certificate was renewed, or may have been: kube-root-ca.crt follows in every namespace.
  void set_cluster_ca(std::string pem);
  Metrics& metrics();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::api

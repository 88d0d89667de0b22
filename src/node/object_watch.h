// Watches of the ConfigMaps and Secrets that this device's pods mention, one object each, so that a change
// reaches volumes (and the device's own record) within moments and an idle device asks for nothing.
//
// One watch of one name, not of a namespace: a device sees the secrets of its own pods and no others.
// https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/random.h"
#include "client/informer.h"
#include "loop/loop.h"
#include "node/node_db.h"

namespace limpet::node {

class ObjectWatches {
 public:
  // Told of an object that differs from the record; the record has it by then. key as in node_db.h:
  // "NAMESPACE/configmaps/NAME".
  using Changed = std::function<void(const std::string& key)>;
  ObjectWatches(loop::Loop& loop, client::Client& client, Random& random, NodeDb& db, Changed changed)
      : loop_(loop), client_(client), random_(random), db_(db), changed_(std::move(changed)) {}

  // Watches exactly these from now on. Not from inside `changed`.
  void retain(const std::set<std::string>& keys);
  size_t size() const { return watches_.size(); }

 private:
  std::unique_ptr<client::Informer> watch(const std::string& key);
  void seen(const std::string& key, const SharedBytes& object);

  loop::Loop& loop_;
  client::Client& client_;
  Random& random_;
  NodeDb& db_;
  Changed changed_;
  std::map<std::string, std::unique_ptr<client::Informer>> watches_;
};

}  // namespace limpet::node

// Which objects the pods of each device mention, and so which a device may read: the relation of upstream's
// node authorizer (https://kubernetes.io/docs/reference/access-authn-authz/node/).
//
// A value without clock or store. It holds names only: for each device the set of its pods and of what they
// mention, each with the number of pods that do. What a change takes away is read from the pod as it was, so
// that a change costs what the pod names, and nothing is kept per pod beside its name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "api/pod_mentions.h"

namespace limpet::api {

class NodeGraph {
 public:
  // A pod as stored; without spec.nodeName, or empty, it belongs to nobody. `before` and `now` are two states
  // of one pod, either of them empty.
  void change(std::string_view before, std::string_view now);
  void add(std::string_view pod) { change({}, pod); }

  // Whether a pod of this device is, or mentions, the object.
  bool related(std::string_view node, Mention what, std::string_view ns, std::string_view name) const;

  size_t nodes() const { return nodes_.size(); }
  bool operator==(const NodeGraph&) const = default;

 private:
  using Objects = std::map<std::string, uint32_t, std::less<>>;  // by kind, namespace and name
  void count(std::string_view pod, int by);
  std::map<std::string, Objects, std::less<>> nodes_;
};

}  // namespace limpet::api

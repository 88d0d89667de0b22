// Events about pods, nodes and other objects, as `kubectl describe` shows them. Repeats within ten minutes
// raise the count of one event instead of making another; at most a few are under way to the API, the rest
// waits in a bounded queue, oldest dropped.
// https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "client/client.h"
#include "loop/loop.h"

namespace limpet::client {

struct ObjectRef {
  std::string kind, ns, name, uid, field_path;  // field_path: "spec.containers{app}", may be empty
  std::string api_version = "v1";
};

class EventRecorder {
 public:
  EventRecorder(loop::Loop& loop, Clock& clock, Random& random, Client& client, std::string component,
                std::string host);
  ~EventRecorder();
  void normal(const ObjectRef& about, const std::string& reason, const std::string& message) {
    record(about, "Normal", reason, message);
  }
  void warning(const ObjectRef& about, const std::string& reason, const std::string& message) {
    record(about, "Warning", reason, message);
  }

 private:
  struct Impl;
  void record(const ObjectRef& about, const char* type, const std::string& reason,
              const std::string& message);
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::client

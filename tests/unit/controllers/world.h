// Controllers on virtual time against the API in memory: everything happens when the test says so, in an
// order that is the same each time. Time passes only in pass(), which rings the alarms on its way.
#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controllers/manager.h"
#include "fake_api.h"

namespace limpet::controllers {

class VirtualTiming final : public Timing {
 public:
  explicit VirtualTiming(ManualClock& clock) : clock_(clock) {}
  int64_t now_ms() override { return clock_.monotonic_ms(); }
  WallTime wall() override { return clock_.wall(); }
  void defer(std::function<void()> f) override { deferred_.push_back(std::move(f)); }
  std::unique_ptr<Alarm> alarm(const char* name) override;

  bool turn();  // one deferred task
  // The earliest alarm up to `until_ms` rings at its time; false when there is none.
  bool ring(int64_t until_ms);
  size_t alarms() const;  // that are set

 private:
  struct Bell;
  ManualClock& clock_;
  std::deque<std::function<void()>> deferred_;
  std::vector<Bell*> bells_;
};

class World final : public EventSink {
 public:
  World();
  ~World() override;

  ManualClock clock;
  SeededRandom random{11};
  FakeApi api{clock, random};
  VirtualTiming timing{clock};
  std::vector<std::string> events;  // "Deployment/web ScalingReplicaSet: Scaled up ..."

  NodeOptions nodes{"own", 40'000};  // before start()
  void start();
  void restart();  // as after a death of the daemon
  void settle();   // until nothing is left to do at this moment
  void pass(int64_t ms);

  // ---- the rest of the cluster
  std::string deployment(const std::string& name, int replicas, const std::string& more_spec = "",
                         const std::string& image = "i:1");
  std::string replica_set(const std::string& name, int replicas, const std::string& more_spec = "");
  void image(const std::string& deployment, const std::string& image);
  void scale(const std::string& path, int replicas);
  // Pods as a device runs them: assigned, running, ready; those that end are gone. `broken` images never get
  // ready.
  void run_pods();
  std::set<std::string> broken;
  void pods_ready(const std::string& name, bool ready);
  // Rounds of settle() and run_pods() until nothing changes any more.
  void finish();

  // ---- devices; that of the leader, "own", is there from the beginning
  void node(const std::string& name, const std::string& ready = "True");  // joins, with all conditions well
  void renew(const std::string& name);                                    // its lease
  // Time passes in steps of ten seconds, at each of which these renew their leases.
  void pass_renewing(const std::vector<std::string>& names, int64_t seconds);
  void device_says(const std::string& name, const std::string& ready);  // in the status of its node
  void pod_on(const std::string& name, const std::string& node, const std::string& tolerations = "");
  std::string taints(const std::string& node);  // "key:Effect key:Effect", ordered

  json::Value get(const std::string& path) { return api.get(path); }
  int64_t status(const std::string& path, const char* field) {
    return api.get(path).ref()["status"][field].integer();
  }
  std::string condition(const std::string& path, const std::string& type, const char* field = "reason");
  std::vector<std::string> pods_of(const std::string& set);  // not deleting
  std::string new_set(const std::string& deployment);        // name of the one with its template
  int64_t wanted(const std::string& set) {
    return api.get("replicasets/d/" + set).ref()["spec"]["replicas"].integer();
  }
  bool said(const std::string& part) const;

  void event(const char* component, const client::ObjectRef& about, bool warning, const std::string& reason,
             const std::string& message) override;

 private:
  loop::Loop loop_;  // only the reflectors' timers hang on it; it never turns
  std::unique_ptr<Manager> manager_;
};

}  // namespace limpet::controllers

#include "world.h"

#include <algorithm>

namespace limpet::controllers {

struct VirtualTiming::Bell final : Alarm {
  VirtualTiming& timing;
  int64_t at_ms = -1;
  std::function<void()> f;

  explicit Bell(VirtualTiming& t) : timing(t) { t.bells_.push_back(this); }
  ~Bell() override { std::erase(timing.bells_, this); }
  void start(int64_t delay_ms, std::function<void()> task) override {
    at_ms = timing.now_ms() + std::max<int64_t>(delay_ms, 0);
    f = std::move(task);
  }
  void stop() override { at_ms = -1; }
};

std::unique_ptr<Alarm> VirtualTiming::alarm(const char*) { return std::make_unique<Bell>(*this); }

bool VirtualTiming::turn() {
  if (deferred_.empty()) return false;
  const std::function<void()> f = std::move(deferred_.front());
  deferred_.pop_front();
  f();
  return true;
}

bool VirtualTiming::ring(int64_t until_ms) {
  Bell* next = nullptr;
  for (Bell* b : bells_) {
    if (b->at_ms >= 0 && b->at_ms <= until_ms && (!next || b->at_ms < next->at_ms)) next = b;
  }
  if (!next) return false;
  const int64_t wait = next->at_ms - now_ms();
  if (wait > 0) clock_.advance_ms(wait);
  next->at_ms = -1;
  const std::function<void()> f = next->f;
  f();
  return true;
}

size_t VirtualTiming::alarms() const {
  return static_cast<size_t>(
      std::count_if(bells_.begin(), bells_.end(), [](Bell* b) { return b->at_ms >= 0; }));
}

World::World() { node("own"); }
World::~World() = default;

void World::start() {
  manager_ = std::make_unique<Manager>(Context{loop_, timing, random, api, *this}, nodes);
  manager_->start();
  settle();
}

void World::restart() {
  manager_.reset();
  start();
}

void World::settle() {
  for (int turns = 0; api.turn() || timing.turn(); turns++) REQUIRE(turns < 100'000);
  if (api.lag) return;
  // What comes back within a moment (a conflict, a step behind) belongs to it.
  if (timing.ring(clock.monotonic_ms() + 40)) settle();
}

void World::pass(int64_t ms) {
  const int64_t end = clock.monotonic_ms() + ms;
  settle();
  while (timing.ring(end)) settle();
  if (end > clock.monotonic_ms()) clock.advance_ms(end - clock.monotonic_ms());
  settle();
}

std::string World::deployment(const std::string& name, int replicas, const std::string& more_spec,
                              const std::string& image) {
  return api.put("deployments/d/" + name,
                 R"({"metadata":{},"spec":{)" + more_spec + R"("replicas":)" + std::to_string(replicas) +
                     R"(,"selector":{"matchLabels":{"app":")" + name +
                     R"("}},"template":{"metadata":{"labels":{"app":")" + name +
                     R"("}},"spec":{"containers":[{"name":"c","image":")" + image + R"("}]}}}})");
}

std::string World::replica_set(const std::string& name, int replicas, const std::string& more_spec) {
  return api.put("replicasets/d/" + name, R"({"metadata":{},"spec":{)" + more_spec + R"("replicas":)" +
                                              std::to_string(replicas) +
                                              R"(,"selector":{"matchLabels":{"app":")" + name +
                                              R"("}},"template":{"metadata":{"labels":{"app":")" + name +
                                              R"("}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}})");
}

void World::image(const std::string& deployment, const std::string& image) {
  api.change("deployments/d/" + deployment,
             [&](json::Ref d) { d["spec"]["template"]["spec"]["containers"].at(0).set("image", image); });
}

void World::scale(const std::string& path, int replicas) {
  api.change(path, [&](json::Ref o) { o["spec"].set("replicas", replicas); });
}

void World::pods_ready(const std::string& name, bool ready) {
  api.change("pods/d/" + name, [&](json::Ref pod) {
    pod["spec"].set("nodeName", "own");
    json::Ref status = pod.ensure_object("status");
    status.set("phase", "Running");
    status.set("conditions", json::Value::array());
    json::Ref c = status["conditions"].push(json::Value::object());
    c.set("type", "Ready");
    c.set("status", ready ? "True" : "False");
    c.set("lastTransitionTime", rfc3339(clock.wall()));
  });
}

void World::run_pods() {
  for (const std::string& name : api.names("pods")) {
    const json::Value pod = api.get("pods/d/" + name);
    const json::Ref p = pod.ref();
    if (p["metadata"]["deletionTimestamp"]) {
      api.remove("pods/d/" + name);
    } else if (p["status"]["phase"].str() == "Pending" &&
               !broken.contains(std::string(p["spec"]["containers"].at(0)["image"].str()))) {
      pods_ready(name, true);
    }
  }
}

void World::finish() {
  size_t before = 0;
  do {
    before = api.log.size();
    settle();
    run_pods();
    settle();
  } while (api.log.size() != before);
}

void World::node(const std::string& name, const std::string& ready) {
  const std::string now = rfc3339(clock.wall());
  std::string conditions;
  for (const char* type : {"MemoryPressure", "DiskPressure", "PIDPressure"})
    conditions += std::string(R"({"type":")") + type + R"(","status":"False"},)";
  api.put("nodes//" + name, R"({"metadata":{},"status":{"conditions":[)" + conditions +
                                R"({"type":"Ready","status":")" + ready + R"(","lastHeartbeatTime":")" + now +
                                R"("}]}})");
}

void World::renew(const std::string& name) {
  // The clock of the device is wrong, and stands still.
  api.put("leases/kube-node-lease/" + name,
          R"({"metadata":{},"spec":{"holderIdentity":")" + name +
              R"(","leaseDurationSeconds":40,"renewTime":"1970-01-01T00:00:00.000000Z"}})");
}

void World::pass_renewing(const std::vector<std::string>& names, int64_t seconds) {
  for (; seconds > 0; seconds -= 10) {
    for (const std::string& name : names) renew(name);
    pass(std::min<int64_t>(seconds, 10) * 1000);
  }
}

void World::device_says(const std::string& name, const std::string& ready) {
  clock.advance_ms(1000);  // the heartbeat is another
  api.change("nodes//" + name, [&](json::Ref node) {
    for (json::Ref c : node["status"]["conditions"]) {
      const bool is_ready = c["type"].str() == "Ready";
      c.set("status", is_ready ? ready : "False");
      c.set("lastHeartbeatTime", rfc3339(clock.wall()));
    }
  });
}

void World::pod_on(const std::string& name, const std::string& node, const std::string& tolerations) {
  api.put("pods/d/" + name, R"({"metadata":{},"spec":{"nodeName":")" + node + R"(",)" +
                                (tolerations.empty() ? "" : R"("tolerations":)" + tolerations + ",") +
                                R"("containers":[{"name":"c","image":"i:1"}]},"status":{"phase":"Running",)" +
                                R"("conditions":[{"type":"Ready","status":"True"}]}})");
}

std::string World::taints(const std::string& node) {
  const json::Value o = api.get("nodes//" + node);
  std::set<std::string> all;
  for (json::Ref t : o.ref()["spec"]["taints"])
    all.insert(std::string(t["key"].str()) + ":" + std::string(t["effect"].str()));
  std::string out;
  for (const std::string& t : all) out += (out.empty() ? "" : " ") + t;
  return out;
}

std::string World::condition(const std::string& path, const std::string& type, const char* field) {
  const json::Value o = api.get(path);
  for (json::Ref c : o.ref()["status"]["conditions"]) {
    if (c["type"].str() == type) return std::string(c[field].str());
  }
  return "";
}

std::vector<std::string> World::pods_of(const std::string& set) {
  const json::Value owner = api.get("replicasets/d/" + set);
  std::vector<std::string> out;
  for (const std::string& name : api.names("pods")) {
    const json::Value pod = api.get("pods/d/" + name);
    const json::Ref meta = pod.ref()["metadata"];
    if (!meta["deletionTimestamp"] &&
        meta["ownerReferences"].at(0)["uid"].str() == owner.ref()["metadata"]["uid"].str())
      out.push_back(name);
  }
  return out;
}

std::string World::new_set(const std::string& deployment) {
  const json::Value d = api.get("deployments/d/" + deployment);
  const std::string wanted = template_digest(json::Cursor(d.ref()["spec"]["template"].dump()));
  for (const std::string& name : api.names("replicasets")) {
    const json::Value set = api.get("replicasets/d/" + name);
    if (template_digest(json::Cursor(set.ref()["spec"]["template"].dump())) == wanted) return name;
  }
  return "";
}

bool World::said(const std::string& part) const {
  return std::any_of(events.begin(), events.end(),
                     [&](const std::string& e) { return e.find(part) != std::string::npos; });
}

void World::event(const char*, const client::ObjectRef& about, bool, const std::string& reason,
                  const std::string& message) {
  events.push_back(about.kind + "/" + about.name + " " + reason + ": " + message);
}

}  // namespace limpet::controllers

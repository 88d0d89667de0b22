#include "scheduler/driver.h"

#include <algorithm>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "scheduler/read.h"
#include "scheduler/schedule.h"

namespace limpet::scheduler {

namespace {

constexpr const char* kName = "default-scheduler";
// One pass places at most so many pods, then lets the loop breathe.
constexpr size_t kBatch = 50;

std::string path_of(const PodInfo& pod) { return "/api/v1/namespaces/" + pod.ns + "/pods/" + pod.name; }

}  // namespace

struct Driver::Pending {
  PodInfo pod;
  bool ready = true;     // to be tried in the next pass
  std::string reported;  // the message in the status
  std::unique_ptr<client::Pending> call;
  int64_t backoff_ms = 0;
  std::unique_ptr<loop::Timer> retry;
};

Driver::Driver(loop::Loop& loop, Clock& clock, Random& random, client::Client& client,
               client::EventRecorder& events)
    : loop_(loop), clock_(clock), client_(client), events_(events) {
  client::Informer::Handlers pods;
  pods.on_add = [this](const std::string& key, const SharedBytes& o) { pod_changed(key, o); };
  pods.on_update = [this](const std::string& key, const SharedBytes&, const SharedBytes& o) {
    pod_changed(key, o);
  };
  pods.on_delete = [this](const std::string& key, const SharedBytes&) { pod_gone(key); };
  pods_ = std::make_unique<client::Informer>(loop, client, random,
                                             client::Informer::Options{"/api/v1/pods", ""}, std::move(pods));
  client::Informer::Handlers nodes;
  nodes.on_add = [this](const std::string& key, const SharedBytes& o) { node_changed(key, o); };
  nodes.on_update = [this](const std::string& key, const SharedBytes&, const SharedBytes& o) {
    node_changed(key, o);
  };
  nodes.on_delete = [this](const std::string& key, const SharedBytes&) { node_gone(key); };
  nodes.on_synced = [this] { wake(true); };
  nodes_ = std::make_unique<client::Informer>(
      loop, client, random, client::Informer::Options{"/api/v1/nodes", ""}, std::move(nodes));
}

Driver::~Driver() = default;

void Driver::start() {
  nodes_->start();
  pods_->start();
}

NodeInfo* Driver::find_node(std::string_view name) {
  const auto it = std::lower_bound(snapshot_.nodes.begin(), snapshot_.nodes.end(), name,
                                   [](const NodeInfo& n, std::string_view key) { return n.name < key; });
  return it != snapshot_.nodes.end() && it->name == name ? &*it : nullptr;
}

// Keeps the nodes' sums true for one pod: what it took before is given back, what it takes now is taken.
void Driver::account(const std::string& key, const PodInfo* pod) {
  if (const auto it = bound_.find(key); it != bound_.end()) {
    if (NodeInfo* node = find_node(it->second.node_name)) node->remove(it->second);
    bound_.erase(it);
  }
  if (!pod || pod->node_name.empty() || pod->finished) return;
  bound_[key] = *pod;
  if (NodeInfo* node = find_node(pod->node_name)) node->add(*pod);
}

void Driver::pod_changed(const std::string& key, const SharedBytes& object) {
  PodInfo pod = read_pod(json::Cursor(*object));
  const bool was_bound = bound_.contains(key);
  const bool waiting =
      pod.node_name.empty() && !pod.terminating && !pod.finished && !pod.gated && pod.scheduler_name == kName;
  if (!waiting) {
    pending_.erase(key);
    account(key, &pod);
    const bool freed = was_bound && !bound_.contains(key);
    return freed ? wake(true) : void();
  }
  // A binding that was answered and not shown yet stands: this is an older version of the pod.
  const auto it = pending_.find(key);
  if (was_bound && it == pending_.end() && bound_[key].uid == pod.uid) return;
  auto& p = pending_[key];
  if (!p || p->pod.uid != pod.uid) {
    account(key, nullptr);  // what was assumed for another pod of the name
    p = std::make_unique<Pending>();
    json::Cursor(*object)["status"]["conditions"].each([&](std::string_view, json::Cursor c) {
      if (c["type"].str_equals("PodScheduled")) p->reported = c["message"].str();
      return true;
    });
  }
  p->ready = true;  // its own change may be what it needed
  p->pod = std::move(pod);
  wake(false);
}

void Driver::pod_gone(const std::string& key) {
  pending_.erase(key);
  account(key, nullptr);
  wake(true);
}

void Driver::node_changed(const std::string& key, const SharedBytes& object) {
  NodeInfo fresh = read_node(json::Cursor(*object));
  for (const auto& [name, pod] : bound_) {
    if (pod.node_name == fresh.name) fresh.add(pod);
  }
  if (NodeInfo* known = find_node(key)) {
    *known = std::move(fresh);
  } else {
    const auto at = std::find_if(snapshot_.nodes.begin(), snapshot_.nodes.end(),
                                 [&](const NodeInfo& n) { return n.name > key; });
    snapshot_.nodes.insert(at, std::move(fresh));
  }
  wake(true);
}

void Driver::node_gone(const std::string& key) {
  std::erase_if(snapshot_.nodes, [&](const NodeInfo& n) { return n.name == key; });
  wake(true);  // what was said of the pods that wait is no longer true
}

// room_changed: something may fit that did not before.
void Driver::wake(bool room_changed) {
  if (room_changed) {
    for (auto& [key, p] : pending_) p->ready = true;
  }
  if (planned_ || pending_.empty()) return;
  planned_ = true;
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.lock()) return;
    planned_ = false;
    run();
  });
}

void Driver::run() {
  if (!nodes_->synced() || !pods_->synced()) return;
  std::vector<std::pair<const std::string*, Pending*>> due;
  for (auto& [key, p] : pending_) {
    if (p->ready && !p->call && !(p->retry && p->retry->active())) due.emplace_back(&key, p.get());
  }
  // The important ones first; among equals by name, so that a decision can be repeated.
  std::stable_sort(due.begin(), due.end(), [](const auto& a, const auto& b) {
    return a.second->pod.priority > b.second->pod.priority;
  });
  const bool more = due.size() > kBatch;
  if (more) due.resize(kBatch);
  for (const auto& [key, p] : due) {
    p->ready = false;
    place(*key, *p);
  }
  if (more) wake(false);
}

void Driver::retry_later(Pending& p) {
  p.ready = true;
  p.backoff_ms = p.backoff_ms == 0 ? 500 : std::min<int64_t>(p.backoff_ms * 2, 30'000);
  if (!p.retry) p.retry = std::make_unique<loop::Timer>(loop_, "schedule-retry");
  p.retry->start(p.backoff_ms, [this] { wake(false); });
}

void Driver::place(const std::string& key, Pending& pending) {
  const Decision decision = schedule(pending.pod, snapshot_);
  if (decision.node.empty()) return report(key, pending, decision.message);
  bind(key, pending, decision.node);
}

void Driver::bind(const std::string& key, Pending& pending, const std::string& node) {
  PodInfo assumed = pending.pod;
  assumed.node_name = node;
  account(key, &assumed);
  json::Writer w;
  w.begin_object().field("apiVersion", "v1").field("kind", "Binding").key("metadata").begin_object();
  w.field("name", pending.pod.name)
      .field("namespace", pending.pod.ns)
      .field("uid", pending.pod.uid)
      .end_object();
  w.key("target").begin_object().field("kind", "Node").field("name", node).end_object().end_object();
  client::Call call{"POST", path_of(pending.pod) + "/binding", "", "application/json", w.take()};
  pending.call = client_.call(std::move(call), [this, key, node](Result<client::Reply> reply) {
    const auto it = pending_.find(key);
    if (it == pending_.end()) return;
    const auto finished = std::move(it->second->call);
    const PodInfo pod = it->second->pod;
    if (reply && reply->ok()) {
      events_.normal({"Pod", pod.ns, pod.name, pod.uid, ""}, "Scheduled",
                     "Successfully assigned " + pod.ns + "/" + pod.name + " to " + node);
      pending_.erase(it);
      return;
    }
    // Forget the assumption. What the watch says may have come already, so that it is not waited for: a pod
    // that is gone or bound is not pending by then.
    account(key, nullptr);
    retry_later(*it->second);
    if (reply && (reply->status == 404 || reply->status == 409)) return;
    log::warning("cannot bind a pod",
                 {{"pod", pod.ns + "/" + pod.name}, {"error", reply ? reply->error() : reply.error()}});
  });
}

void Driver::report(const std::string& key, Pending& pending, const std::string& message) {
  if (pending.reported == message) return;
  pending.reported = message;
  events_.warning({"Pod", pending.pod.ns, pending.pod.name, pending.pod.uid, ""}, "FailedScheduling",
                  message);
  json::Writer w;
  w.begin_object().key("metadata").begin_object().field("uid", pending.pod.uid).end_object();
  w.key("status").begin_object().key("conditions").begin_array().begin_object();
  w.field("type", "PodScheduled")
      .field("status", "False")
      .field("reason", "Unschedulable")
      .field("message", message);
  w.field("lastTransitionTime", rfc3339(clock_.wall())).end_object().end_array().end_object().end_object();
  client::Call call{"PATCH", path_of(pending.pod) + "/status", "", "application/strategic-merge-patch+json",
                    w.take()};
  pending.call = client_.call(std::move(call), [this, key](Result<client::Reply> reply) {
    const auto it = pending_.find(key);
    if (it == pending_.end()) return;
    const auto finished = std::move(it->second->call);
    if (reply && reply->ok()) {
      it->second->backoff_ms = 0;
      return wake(false);
    }
    it->second->reported.clear();  // said again when it is tried again
    retry_later(*it->second);
  });
}

}  // namespace limpet::scheduler

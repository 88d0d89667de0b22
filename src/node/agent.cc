#include "node/agent.h"

#include <algorithm>
#include <list>
#include <set>

#include "base/log.h"
#include "client/informer.h"
#include "http/message.h"
#include "node/container_starter.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"
#include "node/runtime/rootfs.h"

namespace limpet::node {

namespace {

// How long a device waits for the API before it starts from its own record.
constexpr int64_t kRecordAfterMs = 1000;

std::string uid_of(const SharedBytes& pod) { return json::Cursor(*pod)["metadata"]["uid"].str(); }

}  // namespace

struct Agent::Impl {
  AgentServices s;
  std::map<std::string, std::shared_ptr<PodWorker>> workers;  // by uid
  std::map<std::string, std::string> by_name;  // namespace/name to the uid that has the name now
  std::unique_ptr<client::Informer> informer;
  loop::Timer record_timer;
  Adopted adopted;
  bool filled = false;  // workers were made, from the API or the record
  bool changed = false;
  std::list<std::shared_ptr<loop::Work>> cleaning;

  explicit Impl(AgentServices services) : s(services), record_timer(services.loop, "agent-record") {}

  void watch();
  void start_from_record();
  void start_from_api();
  void adopt(const std::function<SharedBytes(const std::string& uid)>& known);
  void adopt_leftovers();
  void put(const SharedBytes& pod);
  void gone(const std::string& key, const SharedBytes& last);
  void drop(const std::string& uid);
  void remove_leftover(const std::string& pod_uid);
  void after_change();
  void remember();
};

Agent::Agent(AgentServices services) : impl_(std::make_unique<Impl>(services)) {}
Agent::~Agent() { impl_->s.runtime.on_change(nullptr); }

void Agent::start(std::function<void(Result<>)> done) {
  Impl& m = *impl_;
  m.s.runtime.on_change([&m](const std::string& id, const ContainerStatus& status) {
    for (auto& [uid, worker] : m.workers) worker->on_container_change(id, status);
    m.after_change();
  });
  m.s.runtime.adopt([&m, done = std::move(done)](Result<Adopted> adopted) {
    if (!adopted) return done(std::unexpected(std::move(adopted).error()));
    for (const std::string& problem : adopted->problems)
      log::warning("found while adopting", {{"problem", problem}});
    m.adopted = std::move(*adopted);
    m.watch();
    m.record_timer.start(kRecordAfterMs, [&m] { m.start_from_record(); });
    done({});
  });
}

void Agent::stop() {
  impl_->informer.reset();
  impl_->record_timer.stop();
  impl_->workers.clear();
}

void Agent::Impl::watch() {
  client::Informer::Handlers h;
  h.on_add = [this](const std::string&, const SharedBytes& pod) {
    if (informer->synced()) put(pod);
  };
  h.on_update = [this](const std::string& key, const SharedBytes& old, const SharedBytes& pod) {
    if (!informer->synced()) return;
    if (uid_of(old) != uid_of(pod)) gone(key, old);  // deleted and made again between two looks
    put(pod);
  };
  h.on_delete = [this](const std::string& key, const SharedBytes& last) {
    if (informer->synced()) gone(key, last);
  };
  h.on_synced = [this] { start_from_api(); };
  informer = std::make_unique<client::Informer>(
      s.loop, s.client, s.random,
      client::Informer::Options{
          "/api/v1/pods", "fieldSelector=" + http::percent_encode("spec.nodeName=" + s.options.node_name)},
      std::move(h));
  informer->start();
}

// Workers for all pods that `known` has, with what the runtime found running.
void Agent::Impl::adopt(const std::function<SharedBytes(const std::string&)>& known) {
  for (const AdoptedSandbox& sandbox : adopted.sandboxes) {
    if (!workers.contains(sandbox.pod_uid)) {
      if (const SharedBytes pod = known(sandbox.pod_uid)) put(pod);
    }
    if (const auto it = workers.find(sandbox.pod_uid); it != workers.end())
      it->second->adopt_sandbox(sandbox);
  }
  for (const AdoptedContainer& container : adopted.containers) {
    if (const auto it = workers.find(container.pod_uid); it != workers.end())
      it->second->adopt_container(container);
  }
}

void Agent::Impl::start_from_record() {
  if (filled) return;
  const std::vector<SharedBytes> pods = s.db.pods();
  log::notice("the API does not answer: starting the pods of this device's own record",
              {{"pods", pods.size()}});
  filled = true;
  for (const SharedBytes& pod : pods) put(pod);
  adopt([](const std::string&) { return SharedBytes(); });
  for (auto& [uid, worker] : workers) worker->sync();
}

void Agent::Impl::start_from_api() {
  record_timer.stop();
  const bool first = !filled;
  filled = true;
  std::set<std::string> live;
  informer->each([&](const std::string&, const SharedBytes& pod) {
    live.insert(uid_of(pod));
    put(pod);
  });
  if (first) {
    // Pods that were deleted while the daemon was away are known from the record, and end as deleted pods do.
    std::map<std::string, SharedBytes> record;
    for (const SharedBytes& pod : s.db.pods()) record[uid_of(pod)] = pod;
    adopt([&](const std::string& uid) {
      const auto it = record.find(uid);
      return it == record.end() ? SharedBytes() : it->second;
    });
    for (const auto& [uid, pod] : record) {
      if (!live.contains(uid) && !workers.contains(uid)) put(pod);
    }
  }
  std::vector<std::shared_ptr<PodWorker>> all;
  for (const auto& [uid, worker] : workers) all.push_back(worker);
  for (const auto& worker : all) {
    if (live.contains(worker->spec().uid)) {
      worker->sync();
    } else {
      worker->orphaned();
    }
  }
  adopt_leftovers();
}

// What runs and belongs to no pod that anybody knows of.
void Agent::Impl::adopt_leftovers() {
  std::vector<std::string> keep;
  for (const auto& [uid, worker] : workers) keep.push_back(uid);
  s.network.retain(keep);
  std::set<std::string> leftovers;
  for (const AdoptedSandbox& sandbox : adopted.sandboxes) leftovers.insert(sandbox.pod_uid);
  for (const AdoptedContainer& c : adopted.containers) leftovers.insert(c.pod_uid);
  for (const std::string& uid : leftovers) {
    if (!workers.contains(uid)) remove_leftover(uid);
  }
  adopted = Adopted();
  after_change();
}

void Agent::Impl::remove_leftover(const std::string& pod_uid) {
  log::notice("removing what is left of a pod that is gone", {{"uid", pod_uid}});
  const auto report = [pod_uid](Result<> r) {
    if (!r) log::warning("cannot remove what is left of a pod", {{"uid", pod_uid}, {"error", r.error()}});
  };
  auto left = std::make_shared<size_t>(1);
  const auto sandbox = [this, pod_uid, report, left] {
    if (--*left == 0) s.runtime.remove_sandbox(pod_uid, report);
  };
  for (const AdoptedContainer& c : adopted.containers) {
    if (c.pod_uid != pod_uid) continue;
    ++*left;
    s.runtime.remove(c.id, [report, sandbox](Result<> r) {
      report(std::move(r));
      sandbox();
    });
  }
  sandbox();
}

void Agent::Impl::put(const SharedBytes& bytes) {
  PodSpec spec = read_pod_spec(bytes);
  const std::string uid = spec.uid;
  by_name[spec.full_name()] = uid;
  s.db.put_pod(uid, bytes);
  if (const auto it = workers.find(uid); it != workers.end()) {
    it->second->update(std::move(spec));
    return after_change();
  }
  auto worker = std::make_shared<PodWorker>(s, std::move(spec));
  workers[uid] = worker;
  worker->adopt_history(s.db.restart_counts(uid));
  worker->on_gone = [this, uid] { s.loop.defer([this, uid] { drop(uid); }); };
  // Before the adoption is over nothing is started: it might run already.
  if (informer->synced() && filled && adopted.sandboxes.empty() && adopted.containers.empty()) worker->sync();
  after_change();
}

void Agent::Impl::gone(const std::string&, const SharedBytes& last) {
  const auto it = workers.find(uid_of(last));
  if (it != workers.end()) it->second->orphaned();
}

void Agent::Impl::drop(const std::string& uid) {
  const auto it = workers.find(uid);
  if (it == workers.end()) return;
  const auto worker = it->second;
  workers.erase(it);
  const auto name = by_name.find(worker->spec().full_name());
  if (name != by_name.end() && name->second == uid) by_name.erase(name);
  s.db.remove_pod(uid);
  // Logs stay as long as the object does, so that they can be asked for; then they go.
  auto work = std::make_shared<loop::Work>();
  cleaning.push_back(work);
  work->start(
      s.loop, [dir = worker->pod_log_dir()] { (void)remove_tree(dir).has_value(); },
      [this, work = std::weak_ptr<loop::Work>(work)] {
        s.loop.defer([this, work] { cleaning.remove(work.lock()); });
      });
  after_change();
}

// Once per turn of the loop: which images are in use, which ConfigMaps and Secrets are mentioned.
void Agent::Impl::after_change() {
  if (changed) return;
  changed = true;
  s.loop.defer([this] {
    changed = false;
    remember();
  });
}

void Agent::Impl::remember() {
  std::set<std::string> images;
  std::vector<std::string> objects;
  for (const auto& [uid, worker] : workers) {
    for (const auto& [name, r] : worker->state().containers) {
      if (!r.image_id.empty()) images.insert(r.image_id);
    }
    for (const std::string& name : mentioned_objects(json::Cursor(*worker->spec().bytes))) {
      objects.push_back(worker->spec().ns + "/" + name);
    }
  }
  s.images.set_in_use({images.begin(), images.end()});
  if (filled) s.db.retain_objects(objects);
}

PodWorker* Agent::find(const std::string& full_name) {
  const auto name = impl_->by_name.find(full_name);
  if (name == impl_->by_name.end()) return nullptr;
  const auto it = impl_->workers.find(name->second);
  return it == impl_->workers.end() ? nullptr : it->second.get();
}

std::vector<const PodWorker*> Agent::workers() const {
  std::vector<const PodWorker*> out;
  for (const auto& [uid, worker] : impl_->workers) out.push_back(worker.get());
  return out;
}

bool Agent::synced() const { return impl_->informer && impl_->informer->synced(); }

}  // namespace limpet::node

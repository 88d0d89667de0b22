#include "node/agent.h"

#include <algorithm>
#include <list>
#include <optional>
#include <set>

#include "base/log.h"
#include "base/tree.h"
#include "client/informer.h"
#include "http/message.h"
#include "node/container_starter.h"
#include "node/object_watch.h"
#include "node/pod_files.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"
#include "node/runtime/rootfs.h"

namespace limpet::node {

namespace {

// How long a device waits for the API before it starts from its own record.
constexpr int64_t kRecordAfterMs = 1000;
// Objects watched at once; what is beyond is fresh whenever a container starts.
constexpr size_t kMaxWatches = 512;

std::string uid_of(const SharedBytes& pod) { return json::Cursor(*pod)["metadata"]["uid"].str(); }

}  // namespace

// What the runtime had of one pod when the daemon came.
struct Survivors {
  std::optional<AdoptedSandbox> sandbox;
  std::vector<AdoptedContainer> containers;
};

struct Agent::Impl : std::enable_shared_from_this<Impl> {
  AgentServices s;
  std::map<std::string, std::shared_ptr<PodWorker>> workers;  // by uid
  std::map<std::string, std::string> by_name;  // namespace/name to the uid that has the name now
  std::unique_ptr<client::Informer> informer;
  loop::Timer record_timer;
  std::map<std::string, Survivors> found;  // by uid; not taken over by a worker yet
  bool filled = false;                     // workers were made, from the API or the record
  bool changed = false;
  std::list<std::shared_ptr<loop::Work>> cleaning;
  ObjectWatches watches;

  explicit Impl(AgentServices services)
      : s(services),
        record_timer(services.loop, "agent-record"),
        watches(s.loop, s.client, s.random, s.db, [this](const std::string& key) { object_changed(key); }) {}

  // For callbacks that may come after the agent's end.
  template <class F>
  auto guarded(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) {
      if (const auto self = weak.lock()) f(std::forward<decltype(args)>(args)...);
    };
  }

  void adopted(Adopted adopted);
  void watch();
  void start_from_record();
  void start_from_api();
  PodWorker& ensure(const SharedBytes& pod, bool owns_name);
  void put(const SharedBytes& pod);
  void gone(const SharedBytes& last);
  void drop(const std::string& uid);
  void remove_leftovers();
  void remove_leftover(const std::string& pod_uid, const Survivors& what);
  void remove_strays();
  void remove_files(const std::string& pod_uid);
  void in_background(std::function<void()> work, std::function<void()> done = [] {});
  void after_change();
  void remember();
  std::vector<std::string> images_in_use() const;
  void object_changed(const std::string& key);
};

Agent::Agent(AgentServices services) : impl_(std::make_shared<Impl>(services)) {}
Agent::~Agent() { stop(); }

void Agent::start(std::function<void(Result<>)> done) {
  Impl& m = *impl_;
  m.s.runtime.on_change([&m](const std::string& id, const ContainerStatus& status) {
    for (auto& [uid, worker] : m.workers) worker->on_container_change(id, status);
    m.after_change();
  });
  m.s.runtime.adopt(m.guarded([&m, done = std::move(done)](Result<Adopted> adopted) {
    if (!adopted) return done(std::unexpected(std::move(adopted).error()));
    m.adopted(std::move(*adopted));
    m.watch();
    m.record_timer.start(kRecordAfterMs, [&m] { m.start_from_record(); });
    done({});
  }));
}

void Agent::stop() {
  if (!impl_) return;
  impl_->s.runtime.on_change(nullptr);
  impl_->informer.reset();
  impl_->record_timer.stop();
  impl_->watches.retain({});
  impl_->by_name.clear();
  // A worker may ask for the others in its last words: none of them is in the map any more.
  const auto ended = std::exchange(impl_->workers, {});
}

void Agent::Impl::adopted(Adopted adopted) {
  for (const std::string& problem : adopted.problems)
    log::warning("found while adopting", {{"problem", problem}});
  for (AdoptedSandbox& sandbox : adopted.sandboxes) {
    const std::string uid = sandbox.pod_uid;
    found[uid].sandbox = std::move(sandbox);
  }
  for (AdoptedContainer& c : adopted.containers) found[c.pod_uid].containers.push_back(std::move(c));
  after_change();
}

void Agent::Impl::watch() {
  client::Informer::Handlers h;
  h.on_add = [this](const std::string&, const SharedBytes& pod) {
    if (informer->synced()) put(pod);
  };
  h.on_update = [this](const std::string&, const SharedBytes& old, const SharedBytes& pod) {
    if (!informer->synced()) return;
    if (uid_of(old) != uid_of(pod)) gone(old);  // deleted and made again between two looks
    put(pod);
  };
  h.on_delete = [this](const std::string&, const SharedBytes& last) {
    if (informer->synced()) gone(last);
  };
  h.on_synced = [this] { start_from_api(); };
  informer = std::make_unique<client::Informer>(
      s.loop, s.client, s.random,
      client::Informer::Options{
          "/api/v1/pods", "fieldSelector=" + http::percent_encode("spec.nodeName=" + s.options.node_name)},
      std::move(h));
  informer->start();
}

void Agent::Impl::start_from_record() {
  if (filled) return;
  const std::vector<SharedBytes> pods = s.db.pods();
  log::notice("the API does not answer: starting the pods of this device's own record",
              {{"pods", pods.size()}});
  filled = true;
  for (const SharedBytes& pod : pods) put(pod);
}

void Agent::Impl::start_from_api() {
  record_timer.stop();
  filled = true;
  std::set<std::string> live;
  informer->each([&](const std::string&, const SharedBytes& pod) {
    live.insert(uid_of(pod));
    put(pod);
  });
  // Pods that were deleted while the daemon was away are known from the record, and end as deleted pods do.
  for (const SharedBytes& pod : s.db.pods()) {
    if (!live.contains(uid_of(pod))) ensure(pod, false);
  }
  const auto all = workers;
  for (const auto& [uid, worker] : all) {
    if (!live.contains(uid)) worker->orphaned();
  }
  remove_leftovers();
}

// What runs and belongs to no pod that anybody knows of.
void Agent::Impl::remove_leftovers() {
  std::vector<std::string> keep;
  for (const auto& [uid, worker] : workers) keep.push_back(uid);
  s.network.retain(keep);
  remove_strays();
  for (const auto& [uid, what] : std::exchange(found, {})) remove_leftover(uid, what);
  after_change();
}

void Agent::Impl::remove_leftover(const std::string& pod_uid, const Survivors& what) {
  log::notice("removing what is left of a pod that is gone", {{"uid", pod_uid}});
  const auto report = [pod_uid](Result<> r) {
    if (!r) log::warning("cannot remove what is left of a pod", {{"uid", pod_uid}, {"error", r.error()}});
  };
  const auto files = guarded([this, pod_uid, report](Result<> r) {
    report(std::move(r));
    remove_files(pod_uid);
  });
  auto left = std::make_shared<size_t>(what.containers.size() + 1);
  const auto one_less = guarded([this, pod_uid, files, left](Result<>) {
    if (--*left == 0) s.runtime.remove_sandbox(pod_uid, files);
  });
  for (const AdoptedContainer& c : what.containers) {
    s.runtime.remove(c.id, [report, one_less](Result<> r) {
      report(r);
      one_less(std::move(r));
    });
  }
  one_less(Result<>());
}

// Directories of pods that nobody knows any more (the record was lost with the pod still in it). Looked up
// now, so that a pod that comes while they are removed is none of them.
void Agent::Impl::remove_strays() {
  std::set<std::string> stray;
  for (const std::string& dir :
       {s.options.data_dir + "/pods", s.options.run_dir + "/volumes", s.options.run_dir + "/etc"}) {
    for (const std::string& uid : list_directory(dir)) {
      if (!workers.contains(uid) && !found.contains(uid)) stray.insert(uid);
    }
  }
  for (const std::string& uid : stray) remove_files(uid);
}

void Agent::Impl::remove_files(const std::string& pod_uid) {
  const AgentOptions& o = s.options;
  in_background([files = PodFiles{pod_uid,
                                  o.log_dir,
                                  {o.data_dir + "/pods/" + pod_uid, o.run_dir + "/volumes/" + pod_uid},
                                  o.run_dir + "/etc/" + pod_uid}] {
    if (const auto r = remove_pod_files(files); !r)
      log::warning("cannot remove the files of a pod", {{"uid", files.uid}, {"error", r.error()}});
  });
}

void Agent::Impl::in_background(std::function<void()> job, std::function<void()> done) {
  auto work = std::make_shared<loop::Work>();
  cleaning.push_back(work);
  work->start(s.loop, std::move(job), [this, done = std::move(done), work = std::weak_ptr<loop::Work>(work)] {
    done();
    s.loop.defer(guarded([this, work] { cleaning.remove(work.lock()); }));
  });
}

// The worker of a pod, made if need be, with what the runtime had of it. Nothing is started yet.
PodWorker& Agent::Impl::ensure(const SharedBytes& bytes, bool owns_name) {
  PodSpec spec = read_pod_spec(bytes);
  const std::string uid = spec.uid;
  if (owns_name) by_name[spec.full_name()] = uid;
  s.db.put_pod(uid, bytes);
  after_change();
  auto& worker = workers[uid];
  if (worker) {
    worker->replace(std::move(spec));
    return *worker;
  }
  worker = std::make_shared<PodWorker>(s, std::move(spec));
  worker->adopt_history(s.db.restart_counts(uid));
  worker->on_gone = [this, uid] { s.loop.defer(guarded([this, uid] { drop(uid); })); };
  worker->on_image = [this] { after_change(); };
  if (const auto it = found.find(uid); it != found.end()) {
    if (it->second.sandbox) worker->adopt_sandbox(*it->second.sandbox);
    worker->adopt_containers(std::move(it->second.containers));
    found.erase(it);
  }
  return *worker;
}

void Agent::Impl::put(const SharedBytes& pod) { ensure(pod, true).sync(); }

void Agent::Impl::gone(const SharedBytes& last) {
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
  // Logs stay as long as the object does, so that they can be asked for; then they go, and the record after
  // them.
  auto outcome = std::make_shared<Result<>>();
  in_background([outcome, uid, dir = s.options.log_dir] { *outcome = remove_logs(dir, uid); },
                [this, outcome, uid] {
                  if (!*outcome)
                    log::warning("cannot remove the logs of a pod",
                                 {{"uid", uid}, {"error", outcome->error()}});
                  if (!workers.contains(uid)) s.db.remove_pod(uid);
                });
  after_change();
}

// Once per turn of the loop: which images are in use, which ConfigMaps and Secrets are mentioned.
void Agent::Impl::after_change() {
  if (changed) return;
  changed = true;
  s.loop.defer(guarded([this] {
    changed = false;
    remember();
  }));
}

// What a container runs from (its tag may have moved on since), and what any container of any pod will be
// started from when its turn comes: an init container may take an hour, a device may be without a registry.
std::vector<std::string> Agent::Impl::images_in_use() const {
  std::set<std::string> ids, references;
  const auto mentions = [&](const PodSpec& pod) {
    for (const ContainerSpec& c : pod.containers) references.insert(c.image);
  };
  for (const auto& [uid, worker] : workers) {
    mentions(worker->spec());
    for (const auto& [name, r] : worker->state().containers) {
      if (!r.image_id.empty()) ids.insert(r.image_id);
    }
  }
  // Until the workers are made, the record knows best.
  for (const SharedBytes& pod : filled ? std::vector<SharedBytes>() : s.db.pods())
    mentions(read_pod_spec(pod));
  for (const auto& [uid, what] : found) {
    for (const AdoptedContainer& c : what.containers) ids.insert(json::Cursor(c.meta)["imageID"].str());
  }
  for (const std::string& reference : references) {
    if (const auto root = s.images.find(reference)) ids.insert(root->image_id);
  }
  ids.erase("");
  return {ids.begin(), ids.end()};
}

void Agent::Impl::remember() {
  std::set<std::string> watched;
  std::vector<std::string> objects;
  for (const auto& [uid, worker] : workers) {
    for (const std::string& name : mentioned_objects(json::Cursor(*worker->spec().bytes))) {
      objects.push_back(worker->spec().ns + "/" + name);
      if (worker->wants_objects() && watched.size() < kMaxWatches) watched.insert(objects.back());
    }
  }
  s.images.set_in_use(images_in_use());
  if (!filled) return;
  s.db.retain_objects(objects);
  if (informer) watches.retain(watched);
}

void Agent::Impl::object_changed(const std::string& key) {
  const std::string ns = key.substr(0, key.find('/')), name = key.substr(key.find('/') + 1);
  for (const auto& [uid, worker] : workers) {
    if (worker->spec().ns != ns) continue;
    const auto mentioned = mentioned_objects(json::Cursor(*worker->spec().bytes));
    if (std::find(mentioned.begin(), mentioned.end(), name) != mentioned.end()) worker->object_changed();
  }
}

void Agent::report_again() {
  const auto all = impl_->workers;
  for (const auto& [uid, worker] : all) worker->report_now();
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

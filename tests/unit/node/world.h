// A device in one process: the real agent and workers between an API, a runtime, images and a network that
// are played. The outside lives on while the "daemon" inside is killed and started again.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <csignal>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/tree.h"
#include "client/events.h"
#include "node/agent.h"
#include "node/container_starter.h"
#include "node/pod/run_files.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"
#include "node/runtime/rootfs.h"

namespace limpet::node::test {

// Callbacks that wait for a turn of the loop, or to be let go by the test; cancelled with their owner.
struct Token final : Operation, client::Pending {
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  ~Token() override { *alive = false; }
};

class FakeApi final : public client::Client {
 public:
  explicit FakeApi(loop::Loop& loop) : loop_(loop) {}

  bool down = false;                                                         // answers nothing at all
  std::function<std::optional<client::Reply>(const client::Call&)> instead;  // scripted answers
  std::vector<std::string> writes;                                           // "PATCH pods/web/status"
  std::vector<std::string> events;                                           // reasons, in order
  std::vector<std::string> event_messages;

  // ---- what users do
  void put(const std::string& resource, const std::string& text) { store(resource, *json::parse(text)); }
  void put_pod(const std::string& text) { store("pods", *json::parse(text)); }
  void put_object(const std::string& resource, const std::string& name, const std::string& data) {
    store(resource, *json::parse(R"({"metadata":{"name":")" + name + R"(","namespace":"d","uid":"u-)" + name +
                                 R"("},"data":)" + data + "}"));
  }
  void delete_pod(const std::string& name, int grace_s) {
    json::Value v = json::parse(get("pods", name)).value();
    v.ref()["metadata"].set("deletionTimestamp", "2026-01-01T00:00:30Z");
    v.ref()["metadata"].set("deletionGracePeriodSeconds", grace_s);
    store("pods", v);
  }
  void remove(const std::string& resource, const std::string& name) {
    const auto it = objects_.find(resource + "/" + name);
    if (it == objects_.end()) return;
    const std::string last = it->second;
    objects_.erase(it);
    tell(resource, "DELETED", last);
  }
  void change(const std::string& name, const std::function<void(json::Ref)>& f) {
    json::Value v = json::parse(get("pods", name)).value();
    f(v);
    store("pods", v);
  }
  std::string get(const std::string& resource, const std::string& name) const {
    const auto it = objects_.find(resource + "/" + name);
    return it == objects_.end() ? "" : it->second;
  }
  json::Cursor status(const std::string& name) const {
    const auto it = objects_.find("pods/" + name);
    return it == objects_.end() ? json::Cursor() : json::Cursor(it->second)["status"];
  }
  std::string phase(const std::string& name) const { return status(name)["phase"].str(); }
  json::Cursor container(const std::string& pod, size_t index = 0) const {
    return status(pod)["containerStatuses"].at(index);
  }
  std::string waiting(const std::string& pod) const {
    return container(pod)["state"]["waiting"]["reason"].str();
  }
  size_t count_event(const std::string& reason) const {
    return static_cast<size_t>(std::count(events.begin(), events.end(), reason));
  }
  size_t watches() const {
    size_t n = 0;
    for (const Watch& w : watches_) n += *w.alive;
    return n;
  }

  // ---- what clients see
  std::unique_ptr<client::Pending> call(client::Call call,
                                        std::function<void(Result<client::Reply>)> done) override {
    auto token = std::make_unique<Token>();
    loop_.defer([this, alive = token->alive, call = std::move(call), done = std::move(done)] {
      if (!*alive) return;
      if (down) return done(fail(Errc::unavailable, "no route"));
      if (instead) {
        if (auto reply = instead(call)) return done(std::move(*reply));
      }
      done(answer(call));
    });
    return token;
  }
  std::unique_ptr<client::Pending> stream(client::Call call, Stream stream) override {
    auto token = std::make_unique<Token>();
    watches_.push_back({resource_of(call.path), name_selected(call.query), token->alive, std::move(stream)});
    return token;
  }

 private:
  struct Watch {
    std::string resource, name;
    std::shared_ptr<bool> alive;
    Stream stream;
  };

  static std::string resource_of(const std::string& path) {  // ".../namespaces/d/secrets", "/api/v1/pods"
    return path.substr(path.rfind('/') + 1);
  }
  static std::string name_selected(const std::string& query) {
    const size_t at = query.find("metadata.name%3D");
    return at == std::string::npos ? "" : query.substr(at + 16, query.find('&', at) - at - 16);
  }
  static void merge(json::Ref target, json::Ref patch) {
    for (json::Ref m : patch) {
      const std::string key(m.key());
      if (m.is_null()) {
        target.remove(key);
      } else if (m.is_object()) {
        merge(target.ensure_object(key), m);
      } else {
        target.set(key, m.clone());
      }
    }
  }
  void store(const std::string& resource, json::Ref object) {
    object["metadata"].set("resourceVersion", std::to_string(++version_));
    const std::string key = resource + "/" + std::string(object["metadata"]["name"].str());
    const bool known = objects_.contains(key);
    objects_[key] = object.dump();
    tell(resource, known ? "MODIFIED" : "ADDED", objects_[key]);
  }
  void tell(const std::string& resource, const char* type, const std::string& object) {
    const std::string name = json::Cursor(object)["metadata"]["name"].str();
    for (const Watch& w : watches_) {
      if (!*w.alive || w.resource != resource || (!w.name.empty() && w.name != name)) continue;
      loop_.defer([alive = w.alive, f = w.stream.on_event,
                   text = std::string(R"({"type":")") + type + R"(","object":)" + object + "}"] {
        if (*alive) f(text);
      });
    }
  }
  client::Reply answer(const client::Call& call) {
    const std::string tail = call.path.substr(std::string("/api/v1/").size());
    if (tail.ends_with("/events") || tail.find("/events/") != std::string::npos) return take_event(call);
    // namespaces/d/RESOURCE[/NAME[/status]] or RESOURCE
    std::string rest = tail.starts_with("namespaces/") ? tail.substr(tail.find('/', 11) + 1) : tail;
    if (call.method != "GET") writes.push_back(call.method + " " + rest);
    if (rest.find('/') == std::string::npos) return list(rest, name_selected(call.query));
    const bool status = rest.ends_with("/status");
    if (status) rest.resize(rest.size() - 7);
    const auto it = objects_.find(rest);
    if (it == objects_.end()) return {404, "{}"};
    if (call.method == "GET") return {200, it->second};
    const json::Value body = json::parse(call.body).value();
    json::Value object = json::parse(it->second).value();
    if (call.method == "DELETE") {
      if (body.ref()["preconditions"]["uid"].str() != object.ref()["metadata"]["uid"].str())
        return {409, "{}"};
      remove("pods", rest.substr(5));
      return {200, "{}"};
    }
    for (const char* member : {"uid", "resourceVersion"}) {
      const json::Ref want = body.ref()["metadata"][member];
      if (want && want.str() != object.ref()["metadata"][member].str())
        return {409, R"({"reason":"Conflict"})"};
    }
    merge(object.ref().ensure_object("status"), body.ref()["status"]);
    store("pods", object);
    return {200, objects_[rest]};
  }
  client::Reply take_event(const client::Call& call) {
    if (call.method == "POST") events.push_back(json::Cursor(call.body)["reason"].str());
    if (call.method == "POST") event_messages.push_back(json::Cursor(call.body)["message"].str());
    return {201, "{}"};
  }
  client::Reply list(const std::string& resource, const std::string& name) {
    std::string items;
    for (const auto& [key, object] : objects_) {
      if (!key.starts_with(resource + "/") || (!name.empty() && key != resource + "/" + name)) continue;
      items += (items.empty() ? "" : ",") + object;
    }
    return {200, R"({"metadata":{"resourceVersion":")" + std::to_string(version_) + R"("},"items":[)" +
                     items + "]}"};
  }

  loop::Loop& loop_;
  std::map<std::string, std::string> objects_;  // "pods/web" (one namespace is enough)
  std::deque<Watch> watches_;
  int version_ = 10;
};

class FakeRuntime final : public Runtime {
 public:
  struct Container {
    ContainerConfig config;
    ContainerStatus status;
    std::vector<int> signals;
    std::string name() const { return json::Cursor(config.meta)["container"].str(); }
    int attempt() const { return static_cast<int>(json::Cursor(config.meta)["attempt"].integer()); }
  };
  explicit FakeRuntime(loop::Loop& loop, Clock& clock) : loop_(loop), clock_(clock) {}

  std::map<std::string, Container> containers;
  std::map<std::string, SandboxConfig> sandboxes;
  bool hold_create = false, hold_start = false, hold_sandbox = false;
  bool deaf = false;          // containers ignore everything but SIGKILL
  bool hanging_exec = false;  // exec never ends by itself
  int fail_removes = 0;       // so many removals go wrong
  std::optional<Error> create_error, start_error, exec_error;
  int exec_code = 0;
  std::vector<std::string> started;  // "app#0", in order
  bool doubled = false;              // two runs of one container at once
  int execs = 0;

  void let_go() {  // everything held so far
    auto all = std::exchange(held_, {});
    for (auto& f : all) soon(std::move(f));
  }
  void daemon_killed() {
    alive_ = std::make_shared<bool>(true);
    watcher_ = nullptr;
    held_.clear();
  }
  void reboot() {
    daemon_killed();
    containers.clear();
    sandboxes.clear();
  }
  std::string running(const std::string& name) const {
    for (const auto& [id, c] : containers) {
      if (c.name() == name && c.status.state == ContainerState::running) return id;
    }
    return "";
  }
  void exit(const std::string& id, int code) {
    Container& c = containers.at(id);
    if (c.status.state == ContainerState::exited) return;
    c.status.state = ContainerState::exited;
    c.status.exit_code = code;
    c.status.reason = code == 0 ? "Completed" : "Error";
    c.status.finished_at = clock_.wall();
    const ContainerStatus copy = c.status;
    if (watcher_) watcher_(id, copy);
  }

  void adopt(std::function<void(Result<Adopted>)> done) override {
    Adopted a;
    for (const auto& [uid, config] : sandboxes) a.sandboxes.push_back({uid, config.meta, {"/ns/" + uid, ""}});
    for (const auto& [id, c] : containers)
      a.containers.push_back({id, c.config.pod_uid, c.config.meta, c.config.log_path, c.status});
    soon([done, a] { done(a); });
  }
  void create_sandbox(SandboxConfig config, std::function<void(Result<SandboxInfo>)> done) override {
    const std::string uid = config.pod_uid;
    maybe(hold_sandbox, [this, uid, config, done] {
      sandboxes[uid] = config;
      done(SandboxInfo{"/ns/" + uid, ""});
    });
  }
  void remove_sandbox(const std::string& uid, Done done) override {
    soon([this, uid, done] {
      sandboxes.erase(uid);
      done({});
    });
  }
  void create(ContainerConfig config, Done done) override {
    maybe(hold_create, [this, config, done] {
      if (create_error) return done(std::unexpected(*create_error));
      containers[config.id] = {config, {}, {}};
      containers[config.id].status.state = ContainerState::created;
      done({});
    });
  }
  void start(const std::string& id, Done done) override {
    maybe(hold_start, [this, id, done] {
      const auto it = containers.find(id);
      if (it == containers.end()) return done(fail(Errc::not_found, "no container"));
      if (start_error) {
        exit(id, 127);
        return done(std::unexpected(*start_error));
      }
      for (const auto& [other, c] : containers) {
        doubled = doubled || (other != id && c.name() == it->second.name() &&
                              c.config.pod_uid == it->second.config.pod_uid &&
                              c.status.state == ContainerState::running);
      }
      it->second.status.state = ContainerState::running;
      it->second.status.started_at = clock_.wall();
      started.push_back(it->second.name() + "#" + std::to_string(it->second.attempt()));
      done({});
    });
  }
  void kill(const std::string& id, int signal, Done done) override {
    soon([this, id, signal, done] {
      const auto it = containers.find(id);
      if (it != containers.end()) {
        it->second.signals.push_back(signal);
        if (signal == SIGKILL || !deaf) exit(id, 128 + signal);
      }
      done({});
    });
  }
  void remove(const std::string& id, Done done) override {
    soon([this, id, done] {
      if (fail_removes > 0) {
        fail_removes--;
        return done(fail(Errc::io, "device busy"));
      }
      containers.erase(id);
      done({});
    });
  }
  const ContainerStatus* status(const std::string& id) const override {
    const auto it = containers.find(id);
    return it == containers.end() ? nullptr : &it->second.status;
  }
  void on_change(std::function<void(const std::string&, const ContainerStatus&)> f) override {
    watcher_ = std::move(f);
  }
  std::unique_ptr<Session> exec(ExecConfig, Session::Events events) override {
    execs++;
    auto session = std::make_unique<FakeSession>();
    if (!hanging_exec) {
      loop_.defer([alive = session->alive, f = events.on_exit, error = exec_error, code = exec_code] {
        if (!*alive) return;
        if (error) return f(std::unexpected(*error));
        f(Session::Exit{code, false});
      });
    }
    return session;
  }
  std::unique_ptr<Session> attach(AttachConfig, Session::Events) override { return nullptr; }
  Result<Usage> usage(const std::string&) override { return Usage{}; }
  Result<Usage> pod_usage(const std::string&) override { return Usage{}; }
  std::string version() const override { return "fake 1"; }

 private:
  struct FakeSession final : Session {
    std::shared_ptr<bool> alive = std::make_shared<bool>(true);
    ~FakeSession() override { *alive = false; }
    void write_stdin(std::string) override {}
    size_t stdin_queued() const override { return 0; }
    void close_stdin() override {}
    void resize(uint16_t, uint16_t) override {}
    void pause_output(bool) override {}
  };
  void soon(std::function<void()> f) {
    loop_.defer([alive = std::weak_ptr<bool>(alive_), f = std::move(f)] {
      if (!alive.expired()) f();
    });
  }
  void maybe(bool hold, std::function<void()> f) {
    if (hold) return held_.push_back(std::move(f));
    soon(std::move(f));
  }

  loop::Loop& loop_;
  Clock& clock_;
  std::function<void(const std::string&, const ContainerStatus&)> watcher_;
  std::vector<std::function<void()>> held_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class FakeImages final : public Images {
 public:
  explicit FakeImages(loop::Loop& loop) : loop_(loop) {}
  std::set<std::string> present = {"app:1"};
  std::optional<Error> pull_error;
  bool hold = false;
  int pulls = 0, cancelled = 0;
  std::function<void(const PullProgress&)> progress;  // of the pull that was asked for last
  std::vector<std::string> in_use, repaired;
  std::optional<Error> repair_error;
  std::function<void()> on_repair;
  std::string digest = "sha256:1";

  std::optional<ImageRoot> find(const std::string& reference) override {
    if (!present.contains(reference)) return std::nullopt;
    return root(reference);
  }
  std::unique_ptr<Operation> pull(PullRequest request, std::function<void(Result<ImageRoot>)> done) override {
    pulls++;
    progress = request.progress;
    auto token = std::make_unique<Token>();
    auto f = [this, alive = token->alive, reference = request.reference, done = std::move(done)] {
      if (!*alive) return void(cancelled++);
      if (pull_error) return done(std::unexpected(*pull_error));
      present.insert(reference);
      done(root(reference));
    };
    if (hold) {
      held.push_back(f);
    } else {
      loop_.defer(f);
    }
    return token;
  }
  std::unique_ptr<Operation> repair(const std::string& id, std::function<void(Result<>)> done) override {
    repaired.push_back(id);
    auto token = std::make_unique<Token>();
    loop_.defer([this, alive = token->alive, done = std::move(done)] {
      if (!*alive) return;
      if (on_repair) on_repair();
      done(repair_error ? Result<>(std::unexpected(*repair_error)) : Result<>());
    });
    return token;
  }
  void set_in_use(std::vector<std::string> ids) override { in_use = std::move(ids); }
  std::vector<std::function<void()>> held;

 private:
  ImageRoot root(const std::string& reference) const {
    return {"sha256:" + reference,
            "reg/" + reference + "@" + digest,
            {"/lower"},
            R"({"config":{"Cmd":["/app"]}})"};
  }
  loop::Loop& loop_;
};

class FakeNetwork final : public PodNetwork {
 public:
  explicit FakeNetwork(loop::Loop& loop) : loop_(loop) {}
  std::set<std::string> attached;
  std::vector<std::string> retained;
  int fail_attaches = 0;
  bool hold = false;
  std::vector<std::function<void()>> held;

  std::unique_ptr<Operation> attach(PodNetworkRequest request,
                                    std::function<void(Result<PodAddresses>)> done) override {
    auto token = std::make_unique<Token>();
    auto f = [this, alive = token->alive, uid = request.pod_uid, done = std::move(done)] {
      if (!*alive) return;
      if (fail_attaches > 0) {
        fail_attaches--;
        return done(fail(Errc::io, "no bridge"));
      }
      attached.insert(uid);
      done(PodAddresses{{"10.42.0." + std::to_string(uid.back() - '0' + 10)}});
    };
    if (hold) {
      held.push_back(f);
    } else {
      loop_.defer(f);
    }
    return token;
  }
  std::unique_ptr<Operation> detach(std::string uid, std::function<void(Result<>)> done) override {
    auto token = std::make_unique<Token>();
    loop_.defer([this, alive = token->alive, uid, done = std::move(done)] {
      if (!*alive) return;
      attached.erase(uid);
      done({});
    });
    return token;
  }
  void retain(std::vector<std::string> uids) override { retained = std::move(uids); }

 private:
  loop::Loop& loop_;
};

// What node.db keeps, in memory.
class FakeDb final : public NodeDb {
 public:
  std::map<std::string, SharedBytes> stored_pods, objects;
  std::map<std::string, std::map<std::string, int>> restarts;
  std::map<std::string, std::map<std::string, std::string>> asked;

  std::vector<SharedBytes> pods() const override {
    std::vector<SharedBytes> out;
    for (const auto& [uid, pod] : stored_pods) out.push_back(pod);
    return out;
  }
  void put_pod(const std::string& uid, SharedBytes pod) override { stored_pods[uid] = std::move(pod); }
  void remove_pod(const std::string& uid) override {
    stored_pods.erase(uid);
    restarts.erase(uid);
    asked.erase(uid);
  }
  std::map<std::string, int> restart_counts(const std::string& uid) const override {
    const auto it = restarts.find(uid);
    return it == restarts.end() ? std::map<std::string, int>() : it->second;
  }
  void put_restart_count(const std::string& uid, const std::string& c, int n) override {
    restarts[uid][c] = n;
  }
  std::map<std::string, std::string> restarts_asked(const std::string& uid) const override {
    const auto it = asked.find(uid);
    return it == asked.end() ? std::map<std::string, std::string>() : it->second;
  }
  void put_restart_asked(const std::string& uid, const std::string& c, const std::string& run) override {
    if (run.empty()) {
      asked[uid].erase(c);
    } else {
      asked[uid][c] = run;
    }
  }
  SharedBytes object(const std::string& key) const override {
    const auto it = objects.find(key);
    return it == objects.end() ? SharedBytes() : it->second;
  }
  void put_object(const std::string& key, SharedBytes bytes) override { objects[key] = std::move(bytes); }
  void retain_objects(const std::vector<std::string>& keys) override {
    std::erase_if(objects,
                  [&](const auto& e) { return std::find(keys.begin(), keys.end(), e.first) == keys.end(); });
  }
  void close(std::function<void()> done) override { done(); }
};

struct World {
  loop::Loop loop;
  ManualClock clock;
  SeededRandom random{3};
  std::string dir;
  FakeApi api{loop};
  FakeRuntime runtime{loop, clock};
  FakeImages images{loop};
  FakeNetwork network{loop};
  FakeDb db;
  AgentOptions options;

  // What dies with the daemon.
  std::unique_ptr<client::EventRecorder> events;
  std::unique_ptr<Objects> objects;
  std::unique_ptr<Agent> agent;

  World() {
    char path[] = "/tmp/limpet-world-XXXXXX";
    REQUIRE(mkdtemp(path));
    dir = path;
    clock.advance_ms(1000);
    options.node_name = "n";
    options.data_dir = dir + "/data";
    options.run_dir = dir + "/run";
    options.log_dir = dir + "/logs";
    options.host_ips = {"192.0.2.1"};
  }
  ~World() {
    kill_daemon();
    settle();
    CHECK_FALSE(runtime.doubled);
    for (const std::string& uid : list_directory(dir + "/run/etc"))
      (void)remove_run_files(dir + "/run/etc/" + uid).has_value();
    (void)remove_volumes({dir + "/data/pods", dir + "/run/volumes"}).has_value();
    (void)remove_tree(dir).has_value();
  }

  void start_daemon() {
    events = std::make_unique<client::EventRecorder>(loop, clock, random, api, "kubelet", "n");
    objects = std::make_unique<Objects>(api, db);
    agent = std::make_unique<Agent>(
        AgentServices{loop, clock, random, api, runtime, images, network, db, *events, *objects, options});
    bool up = false;
    agent->start([&](Result<> r) { up = r.has_value(); });
    REQUIRE(until([&] { return up && (api.down || agent->synced()); }));
  }
  void kill_daemon() {
    agent.reset();
    objects.reset();
    events.reset();
    runtime.daemon_killed();
  }
  bool until(const std::function<bool()>& f) { return loop.run_until(f, 20'000); }
  // Long enough for everything that is due to have happened.
  void settle() {
    for (int i = 0; i < 60; i++) {
      loop::Timer wake(loop, "test");
      bool over = false;
      wake.start(1, [&] { over = true; });
      (void)loop.run_until([&] { return over; }, 1000);
    }
  }
  void advance_s(int64_t s) {
    clock.advance_ms(s * 1000);
    if (!agent) return;
    for (const PodWorker* w : agent->workers()) const_cast<PodWorker*>(w)->sync();
  }
  PodWorker* worker(const std::string& name) { return agent->find("d/" + name); }
  bool runs(const std::string& name) {
    return until([&] { return api.phase(name) == "Running" && !runtime.running("app").empty(); });
  }
  bool gone(const std::string& uid) {
    return until([&] { return !db.stored_pods.contains(uid) && !runtime.sandboxes.contains(uid); });
  }
};

// A pod "web" (uid u1) with one container "app"; more_spec begins with a comma, app_more too.
inline std::string pod(const std::string& name = "web", const std::string& uid = "u1",
                       const std::string& more_spec = "", const std::string& app_more = "") {
  return R"({"metadata":{"name":")" + name + R"(","namespace":"d","uid":")" + uid +
         R"("},"spec":{"nodeName":"n","terminationGracePeriodSeconds":1)" + more_spec +
         (more_spec.find("restartPolicy") == std::string::npos ? R"(,"restartPolicy":"Always")" : "") +
         R"(,"containers":[{"name":"app","image":"app:1","imagePullPolicy":"IfNotPresent")" + app_more +
         "}]}}";
}

}  // namespace limpet::node::test

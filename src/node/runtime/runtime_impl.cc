// Creating, starting, killing and removing containers.
#include "node/runtime/runtime_impl.h"

#include <signal.h>

#include "base/failpoint.h"
#include "node/runtime/oci_spec.h"

namespace limpet::node {
namespace {

constexpr const char* search_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int64_t exit_grace_ms = 5000;  // from SIGKILL to the exit

std::unexpected<Error> unknown(const std::string& id) { return fail(Errc::not_found, "no container " + id); }

}  // namespace

std::unique_ptr<Runtime> make_runtime(loop::Loop& loop, RuntimeOptions options) {
  return std::make_unique<RuntimeImpl>(loop, std::move(options));
}

RuntimeImpl::RuntimeImpl(loop::Loop& loop, RuntimeOptions options)
    : loop_(loop), options_(std::move(options)) {
  places_.run_dir = options_.run_dir;
  places_.data_dir = options_.data_dir;
  places_.cgroup_root = options_.cgroup_root;
}

RuntimeImpl::~RuntimeImpl() {
  *alive_ = false;
  // What runs now goes on: a half-made container is found and cleaned up by the next adopt().
  for (std::unique_ptr<loop::Process>& process : processes_) process->release();
}

// ---- helpers
// ------------------------------------------------------------------------------------------------------

void RuntimeImpl::blocking(std::function<Result<>()> work, Done done) {
  works_.push_back(std::make_unique<loop::Work>());
  auto it = std::prev(works_.end());
  auto result = std::make_shared<Result<>>();
  (*it)->start(
      loop_, [work = std::move(work), result] { *result = work(); },
      [this, it, result, done = std::move(done)] {
        std::unique_ptr<loop::Work> keep = std::move(*it);
        works_.erase(it);
        Done f = done;  // this closure may go with `keep`
        Result<> r = std::move(*result);
        f(std::move(r));
      });
}

void RuntimeImpl::command(loop::ProcessOptions options, ProcessDone done) {
  processes_.push_back(std::make_unique<loop::Process>());
  auto it = std::prev(processes_.end());
  options.env = {std::string("PATH=") + search_path};
  Result<> started = (*it)->start(loop_, std::move(options), [this, it, done](loop::ProcessExit exit) {
    std::unique_ptr<loop::Process> keep = std::move(*it);
    processes_.erase(it);
    ProcessDone f = done;
    f(std::move(exit));
  });
  if (started) return;
  processes_.erase(it);
  loop_.defer([alive = alive_, done = std::move(done), error = std::move(started).error()] {
    if (*alive) done(std::unexpected(error));
  });
}

loop::ProcessOptions RuntimeImpl::runtime_command(std::vector<std::string> args) const {
  loop::ProcessOptions o;
  o.argv = {runtime_path_, "--root", places_.runtime_root()};
  o.argv.insert(o.argv.end(), args.begin(), args.end());
  o.err = loop::Stdio::collect(4096);
  o.new_session = true;
  o.deadline_ms = options_.command_timeout_ms;
  return o;
}

BundleJob RuntimeImpl::job(const std::string& pod_uid, const std::string& id) const {
  BundleJob job;
  job.places = places_;
  job.cgroups = cgroups_;
  auto pod = pods_.find(pod_uid);
  if (pod != pods_.end()) job.sandbox = pod->second.config;
  job.sandbox.pod_uid = pod_uid;
  job.container.pod_uid = pod_uid;
  job.container.id = id;
  job.default_pids_limit = options_.default_pids_limit;
  return job;
}

RuntimeImpl::Entry* RuntimeImpl::find(const std::string& id) {
  auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

const ContainerStatus* RuntimeImpl::status(const std::string& id) const {
  auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second.status;
}

void RuntimeImpl::on_change(std::function<void(const std::string&, const ContainerStatus&)> f) {
  on_change_ = std::move(f);
}

// ---- create
// -------------------------------------------------------------------------------------------------------

void RuntimeImpl::create(ContainerConfig config, Done done) {
  auto refuse = [&](Error error) {
    loop_.defer([alive = alive_, done, error] {
      if (*alive) done(std::unexpected(error));
    });
  };
  Result<> valid = validate(config);
  if (valid && LIMPET_FAILPOINT("runtime.create.before"))
    valid = fail(Errc::io, "failpoint runtime.create.before");
  if (valid && !cgroups_) valid = fail(Errc::unavailable, "adopt() has not run");
  if (valid && (!pods_.contains(config.pod_uid) || pods_[config.pod_uid].busy)) {
    valid = fail(Errc::not_found, "no sandbox of pod " + config.pod_uid);
  }
  if (valid && entries_.contains(config.id))
    valid = fail(Errc::already_exists, "container " + config.id + " exists");
  if (!valid) return refuse(std::move(valid).error());

  Entry& entry = entries_[config.id];
  entry.id = config.id;
  entry.pod_uid = config.pod_uid;
  entry.tty = config.tty;
  entry.making = true;
  auto prepared = std::make_shared<BundleJob>(job(config.pod_uid, config.id));
  prepared->container = std::move(config);
  blocking([prepared] { return prepare_container(*prepared); },
           [this, prepared, done = std::move(done)](Result<> r) {
             if (!r) return abandon(prepared->container.id, std::move(r).error(), done);
             start_shim(prepared->container, done);
           });
}

void RuntimeImpl::start_shim(const ContainerConfig& config, Done done) {
  std::string id = config.id;
  if (LIMPET_FAILPOINT("runtime.shim")) return abandon(id, {Errc::io, "failpoint runtime.shim"}, done);
  loop::ProcessOptions o;
  o.argv = {shim_path_,
            "run",
            "dir=" + places_.container(config.pod_uid, id),
            "id=" + id,
            "runtime=" + runtime_path_,
            "root=" + places_.runtime_root(),
            "log=" + config.log_path,
            "log_max=" + std::to_string(options_.log_max_bytes),
            "log_files=" + std::to_string(options_.log_max_files),
            "timeout=" + std::to_string(options_.command_timeout_ms),
            strf("tty=%d", config.tty),
            strf("stdin=%d", config.stdin),
            strf("stdin_once=%d", config.stdin_once)};
  for (const std::string& file : cgroups_->oom_files(places_.cgroup(config.pod_uid, id))) {
    o.argv.push_back("oom=" + file);
  }
  for (const std::string& dir : cgroups_->directories(places_.shim_cgroup()))
    o.argv.push_back("cgroup=" + dir);
  o.err = loop::Stdio::collect(4096);
  o.deadline_ms = options_.command_timeout_ms;
  find(id)->had_runtime = true;
  command(std::move(o), [this, id, done = std::move(done)](Result<loop::ProcessExit> exit) {
    if (!exit) return abandon(id, std::move(exit).error().with("limpet-shim"), done);
    if (!exit->ok()) {
      return abandon(id, {Errc::internal, "limpet-shim: " + exit->describe() + ": " + exit->err}, done);
    }
    Result<> connected = connect(*find(id));
    if (!connected) return abandon(id, std::move(connected).error(), done);
    wait_created(id, done);
  });
}

void RuntimeImpl::wait_created(const std::string& id, Done done) {
  Entry& entry = *find(id);
  entry.on_settled = [this, id, done = std::move(done)] {
    Entry& e = *find(id);
    if (e.status.state == ContainerState::exited && e.status.started_at.seconds == 0 &&
        e.status.reason == "StartError") {
      return abandon(id, {Errc::internal, e.status.message}, done);
    }
    e.making = false;
    if (!e.remove_done.empty()) {
      done(fail(Errc::cancelled, "removed while being created"));
      teardown(id, [this, id](Result<> r) { finish_remove(id, std::move(r)); });
      return;
    }
    done({});
    if (on_change_ && find(id) != nullptr) on_change_(id, find(id)->status);
  };
}

void RuntimeImpl::abandon(const std::string& id, Error error, Done done) {
  teardown(id, [this, id, error = std::move(error), done = std::move(done)](Result<>) {
    // Should the cleaning itself have failed, the record stays and the next adopt() tries again.
    Entry* entry = find(id);
    std::vector<Done> waiting = entry != nullptr ? std::move(entry->remove_done) : std::vector<Done>();
    entries_.erase(id);
    done(std::unexpected(error));
    for (Done& f : waiting) f({});
  });
}

// ---- the shim
// -----------------------------------------------------------------------------------------------------

Result<> RuntimeImpl::connect(Entry& entry) {
  std::string id = entry.id;
  ShimLink::Events events;
  events.on_frame = [this, id](uint8_t type, std::string_view payload) { shim_frame(id, type, payload); };
  events.on_closed = [this, id] { shim_lost(id); };
  auto link = ShimLink::connect(loop_, places_.container(entry.pod_uid, id), std::move(events));
  if (!link) return std::unexpected(std::move(link).error());
  entry.link = std::move(*link);
  entry.link->send(shim::frame_watch, "");
  return {};
}

void RuntimeImpl::shim_frame(const std::string& id, uint8_t type, std::string_view payload) {
  Entry* entry = find(id);
  if (entry == nullptr || type != shim::frame_status) return;
  Result<ContainerStatus> status = parse_status(payload);
  if (!status) return;
  entry->status = std::move(*status);
  settle(id);
}

void RuntimeImpl::shim_lost(const std::string& id) {
  Entry* entry = find(id);
  if (entry == nullptr) return;
  std::unique_ptr<ShimLink> gone = std::move(entry->link);
  loop_.defer([link = std::shared_ptr<ShimLink>(std::move(gone))] {});
  if (entry->status.state == ContainerState::exited) return settle(id);
  entry->status.state = ContainerState::exited;
  entry->status.pid = 0;
  entry->status.exit_code = 137;
  entry->status.signal = SIGKILL;
  entry->status.reason = entry->making ? "StartError" : "ContainerStatusUnknown";
  entry->status.message = "limpet-shim of this container died and took its exit status with it";
  blocking(
      [job = job(entry->pod_uid, id)] {
        job.cgroups->kill_all(job.places.cgroup(job.container.pod_uid, job.container.id));
        return Result<>();
      },
      [](Result<>) {});
  settle(id);
}

// After a change of status: whoever waits for it, else the watcher.
void RuntimeImpl::settle(const std::string& id) {
  Entry* entry = find(id);
  bool exited = entry->status.state == ContainerState::exited;
  if (entry->status.state == ContainerState::creating) return;
  if (entry->on_settled && (exited || entry->making)) {
    std::function<void()> next = std::move(entry->on_settled);
    entry->on_settled = nullptr;
    next();
    if (find(id) == nullptr || find(id)->removing) return;
    return;
  }
  if (!entry->making && !entry->removing && on_change_) {
    ContainerStatus copy = entry->status;
    on_change_(id, copy);
  }
}

// ---- start, kill
// --------------------------------------------------------------------------------------------------

void RuntimeImpl::start(const std::string& id, Done done) {
  Entry* entry = find(id);
  Result<> ready;
  if (entry == nullptr)
    ready = unknown(id);
  else if (LIMPET_FAILPOINT("runtime.start"))
    ready = fail(Errc::io, "failpoint runtime.start");
  else if (!entry->link || entry->making || entry->removing)
    ready = fail(Errc::conflict, "container is not created");
  if (!ready) {
    loop_.defer([alive = alive_, done, error = std::move(ready).error()] {
      if (*alive) done(std::unexpected(error));
    });
    return;
  }
  entry->link->ask(shim::frame_start, "", [this, id, done = std::move(done)](Result<> r) {
    if (r) return done({});
    // The shim kills what it could not start; the caller finds it exited.
    when_exited(id, exit_grace_ms, [done, error = std::move(r).error()] { done(std::unexpected(error)); });
  });
}

void RuntimeImpl::kill(const std::string& id, int signal, Done done) {
  Entry* entry = find(id);
  Result<> result;
  if (LIMPET_FAILPOINT("runtime.kill")) result = fail(Errc::io, "failpoint runtime.kill");
  if (signal < 1 || signal > 64) result = fail(Errc::invalid_argument, strf("no signal %d", signal));
  if (!result || entry == nullptr || entry->status.state == ContainerState::exited || !entry->link) {
    loop_.defer([alive = alive_, done, result] {
      if (*alive) done(result);
    });
    return;
  }
  auto pod = pods_.find(entry->pod_uid);
  bool shares_pids = pod != pods_.end() && pod->second.config.host_pid;
  std::string payload(1, static_cast<char>(signal));
  std::string pod_uid = entry->pod_uid;
  entry->link->ask(shim::frame_kill, payload, [this, id, pod_uid, shares_pids, signal, done](Result<> r) {
    if (!shares_pids || signal != SIGKILL) return done(std::move(r));
    // Without a PID namespace of its own the first process takes nothing with it.
    blocking(
        [job = job(pod_uid, id)] {
          job.cgroups->kill_all(job.places.cgroup(job.container.pod_uid, job.container.id));
          return Result<>();
        },
        done);
  });
}

// ---- remove
// -------------------------------------------------------------------------------------------------------

void RuntimeImpl::remove(const std::string& id, Done done) {
  Entry* entry = find(id);
  if (entry == nullptr) {
    loop_.defer([alive = alive_, done] {
      if (*alive) done({});
    });
    return;
  }
  entry->remove_done.push_back(std::move(done));
  if (entry->making) {
    // create() goes on until the runtime is back; a kill makes that soon.
    if (entry->link) entry->link->send(shim::frame_kill, std::string(1, static_cast<char>(SIGKILL)));
    return;
  }
  if (entry->removing) return;
  teardown(id, [this, id](Result<> r) { finish_remove(id, std::move(r)); });
}

void RuntimeImpl::finish_remove(const std::string& id, Result<> result) {
  Entry* entry = find(id);
  std::vector<Done> waiting = std::move(entry->remove_done);
  if (result)
    entries_.erase(id);
  else
    entry->removing = false;  // may be tried again
  for (Done& f : waiting) f(result);
}

void RuntimeImpl::when_exited(const std::string& id, int64_t limit_ms, std::function<void()> next) {
  Entry* entry = find(id);
  if (entry == nullptr || entry->status.state == ContainerState::exited || !entry->link) return next();
  auto once = std::make_shared<std::function<void()>>(std::move(next));
  auto fire = [once] {
    std::function<void()> f = std::move(*once);
    *once = nullptr;
    if (f) f();
  };
  entry->on_settled = fire;
  entry->deadline = std::make_unique<loop::Timer>(loop_, "container exit");
  entry->deadline->start(limit_ms, [this, id, fire] {
    if (Entry* e = find(id)) e->on_settled = nullptr;
    fire();
  });
}

void RuntimeImpl::teardown(const std::string& id, Done done) {
  Entry* entry = find(id);
  entry->removing = true;
  entry->making = false;
  entry->on_settled = nullptr;
  if (!entry->link) return teardown_runtime(id, std::move(done));
  if (entry->status.state != ContainerState::exited) {
    entry->link->send(shim::frame_kill, std::string(1, static_cast<char>(SIGKILL)));
  }
  int64_t limit =
      entry->status.state == ContainerState::creating ? options_.command_timeout_ms : exit_grace_ms;
  when_exited(id, limit, [this, id, done = std::move(done)] {
    Entry* e = find(id);
    e->deadline.reset();
    if (!e->link) return teardown_runtime(id, done);
    // A shim that does not answer is killed by release_container().
    auto next = std::make_shared<Done>(done);
    auto go_on = [this, id, next] {
      if (!*next) return;
      Done f = std::move(*next);
      *next = nullptr;
      loop_.defer([this, id, f, alive = alive_] {
        if (!*alive || find(id) == nullptr) return;
        find(id)->link.reset();
        find(id)->deadline.reset();
        teardown_runtime(id, f);
      });
    };
    e->deadline = std::make_unique<loop::Timer>(loop_, "shim shutdown");
    e->deadline->start(exit_grace_ms, go_on);
    e->link->ask(shim::frame_shutdown, "", [go_on](Result<>) { go_on(); });
  });
}

void RuntimeImpl::teardown_runtime(const std::string& id, Done done) {
  Entry* entry = find(id);
  auto release = [this, id, done = std::move(done)] {
    Entry* e = find(id);
    blocking([job = job(e->pod_uid, id)] { return release_container(job); }, done);
  };
  if (!entry->had_runtime || LIMPET_FAILPOINT("runtime.delete.skip")) return release();
  command(runtime_command({"delete", "--force", "--", id}),
          [release](Result<loop::ProcessExit>) { release(); });
}

Result<Usage> RuntimeImpl::usage(const std::string& id) {
  Entry* entry = find(id);
  if (entry == nullptr || !cgroups_) return unknown(id);
  return cgroups_->usage(places_.cgroup(entry->pod_uid, id));
}

Result<Usage> RuntimeImpl::pod_usage(const std::string& pod_uid) {
  if (!pods_.contains(pod_uid) || !cgroups_) return fail(Errc::not_found, "no pod " + pod_uid);
  return cgroups_->usage(places_.pod_cgroup(pod_uid));
}

}  // namespace limpet::node

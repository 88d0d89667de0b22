// Pods of the Runtime: finding crun or runc, adopting what runs, making and removing sandboxes.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "node/runtime/oci_spec.h"
#include "node/runtime/runtime_impl.h"

namespace limpet::node {
namespace {

constexpr int64_t kVersionTimeoutMs = 10'000;  // a start waits for it
constexpr const char* search_path[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                       "/usr/bin",        "/sbin",          "/bin"};

bool executable(const std::string& path) {
  struct stat st{};
  return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && access(path.c_str(), X_OK) == 0;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return executable(name) ? name : "";
  for (const char* dir : search_path) {
    std::string path = std::string(dir) + "/" + name;
    if (executable(path)) return path;
  }
  return "";
}

std::string find_shim(const std::string& configured) {
  if (!configured.empty()) return find_program(configured);
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  if (n > 0) {
    std::string dir(self, static_cast<size_t>(n));
    dir.resize(dir.rfind('/') + 1);
    if (executable(dir + "limpet-shim")) return dir + "limpet-shim";
  }
  return find_program("limpet-shim");
}

}  // namespace

// ---- adopt
// ----------------------------------------------------------------------------------------------------------

void RuntimeImpl::adopt(std::function<void(Result<Adopted>)> done) {
  auto failed = [&](Error error) {
    loop_.defer([alive = alive_, done, error] {
      if (*alive) done(std::unexpected(error));
    });
  };
  Result<Cgroups> cgroups = Cgroups::detect();
  if (!cgroups) return failed(std::move(cgroups).error());
  shim_path_ = find_shim(options_.shim);
  if (shim_path_.empty()) return failed({Errc::not_found, "limpet-shim is not installed"});
  std::vector<std::string> candidates;
  if (!options_.runtime.empty()) candidates.push_back(options_.runtime);
  // crun uses a fifth of the memory, but refuses cgroup v1 with a v2 mount beside it.
  else if (cgroups->hybrid())
    candidates = {"runc"};
  else
    candidates = {"crun", "runc"};
  cgroups_ = std::make_shared<const Cgroups>(std::move(*cgroups));
  detect(std::move(candidates), [this, done](Result<> r) {
    if (!r) return done(std::unexpected(std::move(r).error()));
    auto found = std::make_shared<Found>();
    blocking(
        [places = places_, cgroups = cgroups_, found]() -> Result<> {
          CHECK_OK(make_directories(places.pods(), 0700));
          CHECK_OK(make_directories(places.runtime_root(), 0700));
          CHECK_OK(make_directories(places.layers(), 0700));
          *found = scan(places, *cgroups);
          return {};
        },
        [this, found, done](Result<> scanned) {
          if (!scanned) return done(std::unexpected(std::move(scanned).error()));
          take_over(std::move(*found), done);
        });
  });
}

// The first candidate that is there and answers --version like itself.
void RuntimeImpl::detect(std::vector<std::string> candidates, Done done) {
  while (!candidates.empty() && find_program(candidates.front()).empty())
    candidates.erase(candidates.begin());
  if (candidates.empty()) {
    return done(fail(Errc::not_found, options_.runtime.empty()
                                          ? "neither crun nor runc that works here is installed"
                                          : "no usable runtime " + options_.runtime));
  }
  std::string path = find_program(candidates.front());
  candidates.erase(candidates.begin());
  loop::ProcessOptions o;
  o.argv = {path, "--version"};
  o.out = loop::Stdio::collect(4096);
  o.deadline_ms = std::min(options_.command_timeout_ms, kVersionTimeoutMs);
  command(std::move(o), [this, path, candidates, done](Result<loop::ProcessExit> exit) {
    size_t at = exit && exit->ok() ? exit->out.find(" version ") : std::string::npos;
    if (at == std::string::npos || at > 64) return detect(candidates, done);
    std::string line = exit->out.substr(0, exit->out.find('\n'));
    version_ = line.substr(0, at) + " " + line.substr(at + 9, 64);
    runtime_path_ = path;
    done({});
  });
}

void RuntimeImpl::take_over(Found found, const std::function<void(Result<Adopted>)>& done) {
  Adopted adopted;
  adopted.problems = std::move(found.problems);
  for (SandboxConfig& config : found.sandboxes) {
    adopted.sandboxes.push_back({config.pod_uid, config.meta, sandbox_info(places_, config)});
    pods_[config.pod_uid].config = std::move(config);
  }
  for (FoundContainer& c : found.containers) {
    Entry& entry = entries_[c.config.id];
    entry.id = c.config.id;
    entry.pod_uid = c.config.pod_uid;
    entry.tty = c.config.tty;
    entry.had_runtime = true;
    entry.status = std::move(c.status);
    if (c.shim_alive) {
      Result<> connected = connect(entry);
      if (!connected) {
        adopted.problems.push_back("shim of container " + entry.id + ": " + connected.error().message);
        shim_lost(entry.id);
      }
    }
    adopted.containers.push_back({entry.id, entry.pod_uid, c.config.meta, c.config.log_path, entry.status});
  }
  done(std::move(adopted));
}

// ---- sandboxes
// ------------------------------------------------------------------------------------------------------

void RuntimeImpl::create_sandbox(SandboxConfig config, std::function<void(Result<SandboxInfo>)> done) {
  auto answer = [&](Result<SandboxInfo> r) {
    loop_.defer([alive = alive_, done, r = std::move(r)] {
      if (*alive) done(r);
    });
  };
  Result<> valid = validate(config);
  if (!valid) return answer(std::unexpected(std::move(valid).error()));
  if (!cgroups_) return answer(fail(Errc::unavailable, "adopt() has not run"));
  auto existing = pods_.find(config.pod_uid);
  if (existing != pods_.end() && existing->second.busy)
    return answer(fail(Errc::conflict, "the sandbox is being changed"));
  if (existing != pods_.end()) return answer(sandbox_info(places_, existing->second.config));

  std::string uid = config.pod_uid;
  pods_[uid] = {std::move(config), true};
  blocking([job = job(uid, "")] { return prepare_pod(job); },
           [this, uid, done = std::move(done)](Result<> r) {
             if (!r) return abandon_sandbox(uid, std::move(r).error(), done);
             make_namespaces(uid, done);
           });
}

void RuntimeImpl::make_namespaces(const std::string& uid, std::function<void(Result<SandboxInfo>)> done) {
  const SandboxConfig& c = pods_[uid].config;
  std::string ns = places_.ns(uid);
  loop::ProcessOptions o;
  o.argv = {shim_path_, "sandbox", "hostname=" + c.hostname};
  if (!c.host_network) {
    o.argv.push_back("net=" + ns + "/net");
    o.argv.push_back("uts=" + ns + "/uts");
  }
  if (!c.host_ipc) {
    o.argv.push_back("ipc=" + ns + "/ipc");
    o.argv.push_back("shm=" + places_.shm(uid));
    o.argv.push_back(strf("shm_options=mode=1777,size=%lld", static_cast<long long>(c.shm_bytes)));
  }
  for (const auto& [name, value] : c.sysctls) o.argv.push_back("sysctl=" + name + "=" + value);
  o.err = loop::Stdio::collect(4096);
  o.deadline_ms = options_.command_timeout_ms;
  command(std::move(o), [this, uid, done = std::move(done)](Result<loop::ProcessExit> exit) {
    if (exit && LIMPET_FAILPOINT("runtime.sandbox.made")) {
      return abandon_sandbox(uid, {Errc::io, "failpoint runtime.sandbox.made"}, done);
    }
    if (!exit) return abandon_sandbox(uid, std::move(exit).error().with("limpet-shim"), done);
    if (!exit->ok()) {
      std::string why = exit->err.empty() ? exit->describe() : exit->err.substr(0, exit->err.find('\n'));
      return abandon_sandbox(uid, {Errc::internal, "pod sandbox: " + why}, done);
    }
    pods_[uid].busy = false;
    done(sandbox_info(places_, pods_[uid].config));
  });
}

void RuntimeImpl::abandon_sandbox(const std::string& uid, Error error,
                                  std::function<void(Result<SandboxInfo>)> done) {
  blocking([job = job(uid, "")] { return release_pod(job); },
           [this, uid, error = std::move(error), done = std::move(done)](Result<>) {
             pods_.erase(uid);
             done(std::unexpected(error));
           });
}

void RuntimeImpl::remove_sandbox(const std::string& uid, Done done) {
  Result<> ready;
  auto pod = pods_.find(uid);
  for (const auto& [id, entry] : entries_) {
    if (entry.pod_uid == uid) ready = fail(Errc::conflict, "container " + id + " of the pod is still there");
  }
  if (pod != pods_.end() && pod->second.busy) ready = fail(Errc::conflict, "the sandbox is being changed");
  if (!ready || pod == pods_.end()) {
    loop_.defer([alive = alive_, done, ready] {
      if (*alive) done(ready);
    });
    return;
  }
  pod->second.busy = true;
  blocking([job = job(uid, "")] { return release_pod(job); },
           [this, uid, done = std::move(done)](Result<> r) {
             if (r)
               pods_.erase(uid);
             else
               pods_[uid].busy = false;
             done(std::move(r));
           });
}

}  // namespace limpet::node

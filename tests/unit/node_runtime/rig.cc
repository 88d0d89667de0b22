#include "rig.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/atomic_file.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "node/runtime/cgroup.h"
#include "node/runtime/cri_log.h"
#include "node/runtime/rootfs.h"

namespace rig {
namespace {

bool exists(const char* path) { return access(path, F_OK) == 0; }

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void make_image(const std::string& root) {
  for (const char* part : {"/bin", "/etc", "/tmp", "/proc", "/dev", "/sys", "/root"}) {
    REQUIRE(make_directories(root + part, 0755).has_value());
  }
  std::ifstream in("/usr/bin/busybox", std::ios::binary);
  std::ofstream out(root + "/bin/busybox", std::ios::binary);
  out << in.rdbuf();
  out.close();
  chmod((root + "/bin/busybox").c_str(), 0755);
  for (const char* name :
       {"sh",  "sleep", "echo",     "cat",   "id",   "stty", "ls",     "dd",   "mount", "ps", "head",
        "yes", "true",  "hostname", "touch", "tail", "grep", "setsid", "kill", "wc",    "seq"}) {
    REQUIRE_EQ(symlink("busybox", (root + "/bin/" + name).c_str()), 0);
  }
  std::ofstream(root + "/etc/passwd") << "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
  std::ofstream(root + "/etc/group") << "root:x:0:\napp:x:1000:\nextra:x:2000:app\n";
}

}  // namespace

std::string missing() {
  if (geteuid() != 0) return "needs root";
  if (!exists("/usr/bin/busybox")) return "needs busybox-static";
  if (!exists("/usr/sbin/runc") && !exists("/usr/bin/runc") && !exists("/usr/bin/crun"))
    return "needs crun or runc";
  if (!Cgroups::detect()) return "needs a cgroup hierarchy";
  std::ofstream probe("/proc/self/oom_score_adj");
  return "";
}

Rig::Rig(std::string name) {
  char path[] = "/tmp/limpet-rt-XXXXXX";
  REQUIRE(mkdtemp(path) != nullptr);
  dir = path;
  pod = std::string("pod-") + (path + sizeof path - 7);
  make_image(dir + "/image");
  options.run_dir = dir + "/run";
  options.data_dir = dir + "/data";
  options.cgroup_root = std::string("/limpet-test-") + (path + sizeof path - 7);
  options.runtime = std::move(name);
  options.shim = LIMPET_SHIM;
  // Overlay cannot lie on every file system; a tmpfs always does.
  REQUIRE(make_directories(options.data_dir, 0700).has_value());
  REQUIRE_EQ(::mount("tmpfs", options.data_dir.c_str(), "tmpfs", 0, nullptr), 0);
  open();
}

Rig::~Rig() {
  if (runtime) {
    std::vector<std::string> ids;
    for (const auto& [id, status] : seen) ids.push_back(id);
    for (const std::string& id : ids) static_cast<void>(remove(id));
    static_cast<void>(remove_pod());
  }
  runtime.reset();
  Result<Cgroups> cgroups = Cgroups::detect();
  if (cgroups) {
    cgroups->kill_all(options.cgroup_root);
    static_cast<void>(cgroups->remove(options.cgroup_root));
  }
  static_cast<void>(unmount(options.data_dir));
  static_cast<void>(remove_tree(dir));
}

void Rig::open() {
  runtime = make_runtime(loop, options);
  runtime->on_change([this](const std::string& id, const ContainerStatus& s) { seen[id] = s; });
}

bool Rig::until(const std::function<bool()>& done, int64_t limit_ms) {
  // Conditions on files change without an event of the loop.
  loop::Timer tick(loop, "test tick");
  tick.repeat(5, [] {});
  return loop.run_until(done, limit_ms);
}

Adopted Rig::restart() {
  runtime.reset();
  open();
  Result<Adopted> found = fail(Errc::internal, "adopt did not come back");
  bool over = false;
  runtime->adopt([&](Result<Adopted> r) {
    found = std::move(r);
    over = true;
  });
  REQUIRE(until([&] { return over; }));
  REQUIRE_MESSAGE(found.has_value(), (found ? "" : found.error().message));
  return std::move(*found);
}

namespace {

template <class T>
struct Waited {
  bool over = false;
  Result<T> result = fail(Errc::internal, "did not come back");
  std::function<void(Result<T>)> done() {
    return [this](Result<T> r) {
      result = std::move(r);
      over = true;
    };
  }
};

}  // namespace

Result<SandboxInfo> Rig::make_pod(SandboxConfig config) {
  config.pod_uid = pod;
  if (config.hostname.empty()) config.hostname = "box";
  Waited<SandboxInfo> w;
  runtime->create_sandbox(std::move(config), w.done());
  until([&] { return w.over; });
  return w.result;
}

Result<> Rig::remove_pod() {
  Waited<void> w;
  runtime->remove_sandbox(pod, w.done());
  until([&] { return w.over; });
  return w.result;
}

ContainerConfig Rig::container(const std::string& id, std::vector<std::string> args) {
  ContainerConfig c;
  c.id = id;
  c.pod_uid = pod;
  c.meta = "meta of " + id;
  c.lower_dirs = {dir + "/image"};
  c.args = std::move(args);
  c.log_path = dir + "/logs/" + id + "/0.log";
  REQUIRE(make_directories(dir + "/logs/" + id, 0755).has_value());
  return c;
}

Result<> Rig::create(ContainerConfig config) {
  Waited<void> w;
  runtime->create(std::move(config), w.done());
  until([&] { return w.over; });
  return w.result;
}

Result<> Rig::start(const std::string& id) {
  Waited<void> w;
  runtime->start(id, w.done());
  until([&] { return w.over; });
  return w.result;
}

Result<> Rig::kill(const std::string& id, int signal) {
  Waited<void> w;
  runtime->kill(id, signal, w.done());
  until([&] { return w.over; });
  return w.result;
}

Result<> Rig::remove(const std::string& id) {
  Waited<void> w;
  runtime->remove(id, w.done());
  until([&] { return w.over; });
  return w.result;
}

ContainerStatus Rig::wait_exit(const std::string& id) {
  until(
      [&] { return runtime->status(id) == nullptr || runtime->status(id)->state == ContainerState::exited; });
  REQUIRE(runtime->status(id) != nullptr);
  CHECK_EQ(static_cast<int>(runtime->status(id)->state), static_cast<int>(ContainerState::exited));
  return *runtime->status(id);
}

ContainerStatus Rig::run(ContainerConfig config) {
  std::string id = config.id;
  Result<> created = create(std::move(config));
  REQUIRE_MESSAGE(created.has_value(), (created ? "" : created.error().message));
  Result<> started = start(id);
  REQUIRE_MESSAGE(started.has_value(), (started ? "" : started.error().message));
  return wait_exit(id);
}

std::string Rig::log(const std::string& id) {
  std::string text = slurp(dir + "/logs/" + id + "/0.log"), out;
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::optional<LogLine> parsed = parse_log_line(line);
    CHECK_MESSAGE(parsed.has_value(), line);
    if (parsed) out.append(parsed->text).append(parsed->partial ? "" : "\n");
  }
  return out;
}

Session::Events Rig::collect(Output& output) {
  Session::Events e;
  e.on_stdout = [&](std::string_view s) { output.out += s; };
  e.on_stderr = [&](std::string_view s) { output.err += s; };
  e.on_exit = [&](Result<Session::Exit> r) {
    output.exit = std::move(r);
    output.over = true;
  };
  return e;
}

Rig::Output Rig::exec(ExecConfig config, const std::string& input) {
  Output output;
  config.stdin = config.stdin || !input.empty();
  std::unique_ptr<Session> session = runtime->exec(std::move(config), collect(output));
  if (!input.empty()) {
    session->write_stdin(input);
    session->close_stdin();
  }
  CHECK(until([&] { return output.over; }));
  return output;
}

std::vector<int> Rig::shim_pids() const {
  Result<Cgroups> cgroups = Cgroups::detect();
  std::stringstream text(slurp(cgroups->directories(options.cgroup_root + "/shims")[0] + "/cgroup.procs"));
  std::vector<int> pids;
  for (int pid; text >> pid;) pids.push_back(pid);
  return pids;
}

bool Rig::gone(int pid) {
  return until([&] {
    std::string stat = slurp("/proc/" + std::to_string(pid) + "/stat");
    size_t at = stat.rfind(')');
    return at == std::string::npos || stat[at + 2] == 'Z' || stat[at + 2] == 'X';
  });
}

// What was killed is gone a little later, on a busy machine: looked at until nothing is left, within a bound.
std::vector<std::string> Rig::leftovers() const {
  std::vector<std::string> found = leftovers_now();
  for (int i = 0; i < 200 && !found.empty(); ++i) {
    usleep(50'000);
    found = leftovers_now();
  }
  return found;
}

std::vector<std::string> Rig::leftovers_now() const {
  std::vector<std::string> found;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(dir) != std::string::npos && line.find(options.data_dir + " ") == std::string::npos) {
      found.push_back("mount " + line);
    }
  }
  Result<Cgroups> cgroups = Cgroups::detect();
  for (const std::string& group : cgroups->directories(options.cgroup_root)) {
    for (const std::string& name : list_directory(group)) {
      struct stat st{};
      if (name != "shims" && stat((group + "/" + name).c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
        found.push_back("cgroup " + group + "/" + name);
      }
    }
    std::string procs = slurp(group + "/shims/cgroup.procs");
    if (!procs.empty()) found.push_back("shims " + procs);
  }
  for (const char* sub : {"/run/pods", "/run/runtime", "/data/containers"}) {
    for (const std::string& name : list_directory(dir + sub)) found.push_back(dir + sub + "/" + name);
  }
  return found;
}

}  // namespace rig

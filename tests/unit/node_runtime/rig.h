// A runtime with its own directories, cgroup and a busybox image, for tests that run real containers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "node/runtime/runtime.h"

namespace rig {

using namespace limpet;
using namespace limpet::node;

// Why real containers cannot run here; "" when they can.
std::string missing();

class Rig {
 public:
  explicit Rig(std::string runtime = "");
  ~Rig();  // removes all that is left and checks nothing

  std::string dir;
  RuntimeOptions options;
  loop::Loop loop;
  std::unique_ptr<Runtime> runtime;
  std::map<std::string, ContainerStatus> seen;  // by on_change
  std::string pod;

  Adopted restart();  // a new Runtime over the same directories, as after a crash of the daemon
  Result<SandboxInfo> make_pod(SandboxConfig config = {});
  Result<> remove_pod();
  ContainerConfig container(const std::string& id, std::vector<std::string> args);
  Result<> create(ContainerConfig config);
  Result<> start(const std::string& id);
  Result<> kill(const std::string& id, int signal);
  Result<> remove(const std::string& id);
  // Create, start, wait for the exit.
  ContainerStatus run(ContainerConfig config);
  ContainerStatus wait_exit(const std::string& id);
  std::string log(const std::string& id);  // texts of the log lines, each with a newline

  struct Output {
    std::string out, err;
    bool over = false;
    Result<Session::Exit> exit = Session::Exit{};
  };
  Session::Events collect(Output& output);
  Output exec(ExecConfig config, const std::string& input = "");
  bool until(const std::function<bool()>& done, int64_t limit_ms = 20000);

  std::vector<int> shim_pids() const;
  bool gone(int pid);  // within a moment; a zombie is gone

  // Mounts, cgroups, processes and files below our directories.
  std::vector<std::string> leftovers() const;

 private:
  std::vector<std::string> leftovers_now() const;
  void open();
};

}  // namespace rig

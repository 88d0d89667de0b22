// Pods and containers on this device: namespaces, root file systems, and one limpet-shim per container around
// crun or runc. The node agent decides what should run; this room makes it so and says what is.
//
// Owned by the daemon's wiring, used on the loop's thread. Every `done` is called exactly once, from the
// loop, unless the Runtime is destroyed first. Destroying it stops nothing: shims and containers go on, and
// adopt() finds them. At most one of create, start, stop at a time per container is the caller's part; kill()
// and remove() may be called at any time, remove() waits for what is under way.
//
//   create_sandbox -> create -> (hooks of the agent) -> start -> ... exit ... -> remove -> remove_sandbox
//                        |                                        ^
//                        +---------- kill, exec, attach ----------+
//
// All of remove(), remove_sandbox() and kill() are idempotent: what is gone already is a success.
// Sources: OCI runtime specification 1.0.2, Kubernetes "Container runtimes" and the CRI's container states.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "loop/loop.h"

namespace limpet::node {

// ---- what to run
// ------------------------------------------------------------------------------------------------

struct Resources {
  int64_t cpu_millis_request = 0;    // weight; 0: the least weight
  int64_t cpu_millis_limit = 0;      // 0: none
  int64_t memory_request_bytes = 0;  // informs nothing in the kernel yet, kept for stats
  int64_t memory_limit_bytes = 0;    // 0: none
  int64_t pids_limit = 0;            // 0: the runtime's default (Options::default_pids_limit)
};

struct SandboxConfig {
  std::string pod_uid;   // [A-Za-z0-9._-]{1,128}; names the directory and the cgroup
  std::string hostname;  // at most 63 bytes; of the UTS namespace unless host_network
  bool host_network = false;
  bool host_ipc = false;
  bool host_pid = false;
  bool share_process_namespace = false;
  std::vector<std::pair<std::string, std::string>> sysctls;  // namespaced ones only; else invalid_argument
  Resources limits;                                          // of the pod's cgroup: the sums
  int64_t shm_bytes = 64 << 20;
  std::string meta;  // opaque to this room, handed back by adopt()
};

struct SandboxInfo {
  std::string netns_path;  // "" with host_network
  std::string shm_path;    // "" with host_ipc
};

struct BindMount {
  std::string source;    // host path; must exist (the caller makes volumes)
  std::string sub_path;  // relative, resolved below source so that no link leaves it; made when missing
  std::string target;    // absolute path in the container
  bool read_only = false;
  // What is mounted below the source is read-only too; if_possible: where the kernel can (5.12 and newer).
  enum class Recursive { no, if_possible, yes } recursive_read_only = Recursive::no;
  enum class Propagation { none, host_to_container, bidirectional } propagation = Propagation::none;
};

struct ContainerConfig {
  std::string id;       // [a-z0-9][a-z0-9-]{0,63}, unique on the device, never used again
  std::string pod_uid;  // of an existing sandbox
  std::string meta;     // opaque to this room, handed back by adopt()

  std::vector<std::string> lower_dirs;  // image layers, uppermost first
  std::vector<std::string> args;        // final: entrypoint and arguments
  std::vector<std::pair<std::string, std::string>>
      env;                    // final, in order; PATH, HOSTNAME, HOME, TERM are added if absent
  std::string cwd;            // absolute or "" for /
  std::string user;           // image form: "", "uid", "name", "uid:gid", "name:group"
  int64_t run_as_group = -1;  // overrides the group of `user`
  std::vector<uint32_t> supplemental_groups;  // fsGroup included
  bool run_as_non_root = false;               // refuse uid 0 (errors start with "container has runAsNonRoot")

  bool tty = false;
  bool stdin = false;       // keep a stdin open for attach; otherwise /dev/null
  bool stdin_once = false;  // close it when the first attach that had stdin ends

  bool privileged = false;
  bool allow_privilege_escalation = true;
  bool read_only_root = false;
  bool unmasked_proc = false;
  bool seccomp_unconfined = false;            // otherwise the built-in profile (never with privileged)
  std::string seccomp_profile_json;           // a Localhost profile in OCI form; wins over the built-in one
  std::vector<std::string> add_capabilities;  // "NET_ADMIN" or "ALL", CAP_ prefix optional
  std::vector<std::string> drop_capabilities;
  int oom_score_adj = 0;

  Resources resources;
  std::vector<BindMount> mounts;  // volumes, /etc/hosts, /etc/hostname, /etc/resolv.conf
  std::string log_path;           // CRI format; directories are made. "" keeps no log
};

// ---- what is
// ----------------------------------------------------------------------------------------------------

enum class ContainerState { creating, created, running, exited };

struct ContainerStatus {
  ContainerState state = ContainerState::creating;
  int pid = 0;  // of the container's first process, in the host's PID namespace; 0 unless created or running
  int exit_code = 0;  // 128 + signal when a signal ended it, as shells and Kubernetes do
  int signal = 0;
  bool oom_killed = false;
  std::string
      reason;  // "Completed", "Error", "OOMKilled", "StartError", "ContainerStatusUnknown" once exited
  std::string message;  // the runtime's own words when it failed
  WallTime created_at, started_at, finished_at;
  uint64_t log_bytes_dropped = 0;  // output that found no room on disk
};

struct AdoptedContainer {
  std::string id, pod_uid, meta, log_path;
  ContainerStatus status;
};

struct AdoptedSandbox {
  std::string pod_uid, meta;
  SandboxInfo info;
};

struct Adopted {
  std::vector<AdoptedSandbox> sandboxes;
  std::vector<AdoptedContainer> containers;
  std::vector<std::string> problems;  // what was found broken and cleaned up, for the log
};

struct Usage {
  uint64_t cpu_ns = 0;
  uint64_t memory_bytes = 0;        // all charged
  uint64_t memory_working_set = 0;  // less inactive file cache, what `kubectl top` shows
  uint64_t pids = 0;
};

// ---- sessions
// ---------------------------------------------------------------------------------------------------

// A running exec or attach. Destroying an exec kills its processes; destroying an attach only lets go.
// on_exit comes once, after all output; nothing comes after it. With a tty everything arrives on on_stdout.
class Session {
 public:
  struct Exit {
    int exit_code = 0;       // of an exec; 128 + signal. For an attach: that of the container
    bool timed_out = false;  // exec only: the deadline passed and the processes were killed
  };
  struct Events {
    std::function<void(std::string_view)> on_stdout;
    std::function<void(std::string_view)> on_stderr;
    std::function<void()> on_stdin_drain;       // what write_stdin() accepted has left
    std::function<void(Result<Exit>)> on_exit;  // an Error: never began, or the connection was lost
  };
  virtual ~Session() = default;
  virtual void write_stdin(std::string bytes) = 0;
  virtual size_t stdin_queued() const = 0;  // bytes; stop writing above 64 KB until on_stdin_drain
  virtual void close_stdin() = 0;
  virtual void resize(uint16_t columns, uint16_t rows) = 0;
  virtual void pause_output(bool paused) = 0;  // back-pressure; an attach that pauses for long is dropped
};

struct ExecConfig {
  std::string container_id;
  std::vector<std::string> args;
  bool tty = false;
  bool stdin = false;
  int64_t timeout_ms = 0;  // 0: none. When over, the whole process group is killed
};

struct AttachConfig {
  std::string container_id;
  bool stdin = false;
  bool output = true;
};

// ---- the interface
// ----------------------------------------------------------------------------------------------

class Runtime {
 public:
  using Done = std::function<void(Result<>)>;
  virtual ~Runtime() = default;

  // To be called once, first. Finds what runs, drops what another boot left, kills containers whose shim died
  // (they are reported as exited, reason ContainerStatusUnknown).
  virtual void adopt(std::function<void(Result<Adopted>)> done) = 0;

  // Idempotent: a sandbox that exists is handed out again.
  virtual void create_sandbox(SandboxConfig config, std::function<void(Result<SandboxInfo>)> done) = 0;
  // After the last container of the pod was removed. Namespaces, mounts, cgroup and files are gone
  // afterwards.
  virtual void remove_sandbox(const std::string& pod_uid, Done done) = 0;

  // Root mounted, process made and held before its first instruction. invalid_argument: the configuration is
  // at fault (CreateContainerConfigError); anything else: CreateContainerError. On error nothing is left
  // behind.
  virtual void create(ContainerConfig config, Done done) = 0;
  // On error (RunContainerError / StartError) the container is `exited` with the runtime's message.
  virtual void start(const std::string& id, Done done) = 0;
  // To the first process; SIGKILL also ends everything else in it. Already exited: success.
  virtual void kill(const std::string& id, int signal, Done done) = 0;
  // Kills if need be; cleans up process, cgroup, mounts, files. Logs stay: they are the caller's.
  virtual void remove(const std::string& id, Done done) = 0;

  // nullptr when unknown. Valid until control returns to the loop.
  virtual const ContainerStatus* status(const std::string& id) const = 0;
  // Called whenever a status changes, the exit above all, also of adopted containers. One watcher.
  virtual void on_change(std::function<void(const std::string& id, const ContainerStatus&)> f) = 0;

  virtual std::unique_ptr<Session> exec(ExecConfig config, Session::Events events) = 0;
  virtual std::unique_ptr<Session> attach(AttachConfig config, Session::Events events) = 0;

  // Read from the cgroups now; cheap (four small files).
  virtual Result<Usage> usage(const std::string& container_id) = 0;
  virtual Result<Usage> pod_usage(const std::string& pod_uid) = 0;

  // "runc 1.1.5", for Node.status.nodeInfo and the log; known after adopt().
  virtual std::string version() const = 0;
};

struct RuntimeOptions {
  std::string run_dir = "/run/limpet";       // tmpfs
  std::string data_dir = "/var/lib/limpet";  // writable layers live in data_dir/containers
  std::string cgroup_root = "/limpet";  // below the root of every hierarchy; distinct per device of a machine
  std::string runtime;                  // path or name of crun or runc; "" picks one that works here
  std::string shim;                     // path of limpet-shim; "" looks beside this program, then in PATH
  int64_t command_timeout_ms = 30000;   // of one run of crun or runc
  int64_t log_max_bytes = 10 << 20;     // of one log file
  int log_max_files = 3;                // kept per container, the current one included
  int64_t default_pids_limit = 1024;
};

std::unique_ptr<Runtime> make_runtime(loop::Loop& loop, RuntimeOptions options);

}  // namespace limpet::node

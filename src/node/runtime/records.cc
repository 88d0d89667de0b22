#include "node/runtime/records.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdio>
#include <cstdlib>

#include "base/atomic_file.h"
#include "base/boot.h"
#include "base/json.h"
#include "base/unique_fd.h"
#include "node/runtime/bundle.h"
#include "node/runtime/shim_protocol.h"

namespace limpet::node {
namespace {

constexpr size_t max_record = 4 << 20;

Result<std::string> read_json(const std::string& path) {
  TRY(std::string text, read_file(path, max_record));
  Result<> ok = json::validate(text);
  if (!ok) return std::unexpected(std::move(ok).error().with(path));
  return text;
}

}  // namespace

uint64_t process_start_time(int pid) {
  Result<std::string> stat = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!stat) return 0;
  size_t at = stat->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
  return at == std::string::npos ? 0 : strtoull(stat->c_str() + at + 1, nullptr, 10);
}

bool ShimIdentity::alive() const {
  if (pid <= 1 || start_time == 0 || boot_id != limpet::boot_id() || process_start_time(pid) != start_time)
    return false;
  // A zombie keeps its start time, but serves nobody.
  Result<std::string> stat = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  size_t at = stat ? stat->rfind(')') : std::string::npos;
  return at != std::string::npos && at + 2 < stat->size() && (*stat)[at + 2] != 'Z' && (*stat)[at + 2] != 'X';
}

ShimIdentity shim_of(std::string_view status_json) {
  json::Cursor status(status_json);
  ShimIdentity id;
  id.pid = static_cast<int>(status["shimPid"].integer());
  id.start_time = static_cast<uint64_t>(status["shimStart"].integer());
  id.boot_id = status["bootId"].str();
  return id;
}

namespace {

// Of the process that listens at the shim's socket: for a status that cannot be read. 0: none.
int pid_at_socket(const std::string& dir) {
  UniqueFd dir_fd(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir_fd.get(), shim::socket_name);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!dir_fd || !fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return 0;
  }
  return peer.pid;
}

}  // namespace

void kill_shim(const std::string& dir) {
  Result<std::string> status = read_json(dir + "/" + shim::status_name);
  ShimIdentity id = status ? shim_of(*status) : ShimIdentity{};
  int pid = id.alive() ? id.pid : id.pid == 0 ? pid_at_socket(dir) : 0;
  if (pid > 1) ::kill(pid, SIGKILL);
}

std::string sandbox_record(const SandboxConfig& c) {
  json::Writer w;
  w.begin_object().field("bootId", boot_id()).field("podUid", c.pod_uid).field("hostname", c.hostname);
  w.field("hostNetwork", c.host_network).field("hostIpc", c.host_ipc).field("hostPid", c.host_pid);
  w.field("shareProcessNamespace", c.share_process_namespace).field("meta", c.meta).end_object();
  return w.take();
}

std::string container_record(const ContainerConfig& c) {
  json::Writer w;
  w.begin_object().field("bootId", boot_id()).field("id", c.id).field("podUid", c.pod_uid);
  w.field("logPath", c.log_path)
      .field("tty", c.tty)
      .field("stdin", c.stdin)
      .field("meta", c.meta)
      .end_object();
  return w.take();
}

Result<SandboxConfig> read_sandbox_record(const std::string& path, bool& this_boot) {
  TRY(std::string text, read_json(path));
  json::Cursor r(text);
  SandboxConfig c;
  this_boot = r["bootId"].str() == boot_id();
  c.pod_uid = r["podUid"].str();
  c.hostname = r["hostname"].str();
  c.host_network = r["hostNetwork"].boolean();
  c.host_ipc = r["hostIpc"].boolean();
  c.host_pid = r["hostPid"].boolean();
  c.share_process_namespace = r["shareProcessNamespace"].boolean();
  c.meta = r["meta"].str();
  return c;
}

Result<ContainerConfig> read_container_record(const std::string& path, bool& this_boot) {
  TRY(std::string text, read_json(path));
  json::Cursor r(text);
  ContainerConfig c;
  this_boot = r["bootId"].str() == boot_id();
  c.id = r["id"].str();
  c.pod_uid = r["podUid"].str();
  c.log_path = r["logPath"].str();
  c.tty = r["tty"].boolean();
  c.stdin = r["stdin"].boolean();
  c.meta = r["meta"].str();
  return c;
}

Result<ContainerStatus> parse_status(std::string_view text) {
  CHECK_OK(json::validate(text));
  json::Cursor s(text);
  ContainerStatus status;
  std::string state = s["state"].str();
  auto time = [&](std::string_view key) {
    std::string written = s[key].str();
    Result<WallTime> t = parse_rfc3339(written);
    return t ? *t : WallTime{};
  };
  status.pid = static_cast<int>(s["pid"].integer());
  status.exit_code = static_cast<int>(s["exitCode"].integer());
  status.signal = static_cast<int>(s["signal"].integer());
  status.oom_killed = s["oomKilled"].boolean();
  status.message = s["message"].str();
  status.created_at = time("createdAt");
  status.started_at = time("startedAt");
  status.finished_at = time("finishedAt");
  status.log_bytes_dropped = static_cast<uint64_t>(s["logBytesDropped"].integer());
  if (state == "creating") {
    status.state = ContainerState::creating;
  } else if (state == "created") {
    status.state = ContainerState::created;
  } else if (state == "running") {
    status.state = ContainerState::running;
  } else if (state == "exited" || state == "failed") {
    status.state = ContainerState::exited;
    bool never_ran = state == "failed" || s["startFailed"].boolean();
    if (state == "failed") status.exit_code = 128;
    status.reason = never_ran               ? "StartError"
                    : status.oom_killed     ? "OOMKilled"
                    : status.exit_code == 0 ? "Completed"
                                            : "Error";
  } else {
    return fail(Errc::corrupt, "status of limpet-shim: unknown state " + state);
  }
  return status;
}

}  // namespace limpet::node

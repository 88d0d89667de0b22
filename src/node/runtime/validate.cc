// What a container or pod may ask for, before anything is done for it. The agent and the API have checked
// most of it; these bytes go into paths, names and a runtime's configuration, so they are checked where they
// are used.
#include <algorithm>

#include "base/json.h"
#include "node/runtime/capabilities.h"
#include "node/runtime/oci_spec.h"

namespace limpet::node {
namespace {

constexpr size_t max_process_bytes = 1 << 20;
constexpr size_t max_path = 4095;

std::unexpected<Error> bad(const std::string& what) { return fail(Errc::invalid_argument, what); }

bool has_nul(std::string_view s) { return s.find('\0') != std::string_view::npos; }

bool plain_name(std::string_view s, size_t max_size, bool upper) {
  if (s.empty() || s.size() > max_size || s[0] == '.' || s[0] == '-') return false;
  return std::all_of(s.begin(), s.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           (upper && ((c >= 'A' && c <= 'Z') || c == '.' || c == '_'));
  });
}

// Absolute, and no component is "..".
Result<> check_path(std::string_view field, std::string_view path) {
  if (path.empty() || path[0] != '/') return bad(std::string(field) + " is not absolute");
  if (path.size() > max_path || has_nul(path)) return bad(std::string(field) + " is malformed");
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    if (path.substr(at, end - at) == "..") return bad(std::string(field) + " contains \"..\"");
    at = end + 1;
  }
  return {};
}

bool below(std::string_view path, std::string_view dir) {
  return path == dir || (path.starts_with(dir) && path[dir.size()] == '/');
}

Result<> check_mount(const BindMount& m) {
  CHECK_OK(check_path("mount source", m.source));
  CHECK_OK(check_path("mountPath", m.target));
  if (m.target.find_first_not_of('/') == std::string::npos) return bad("mountPath is the root directory");
  if (below(m.target, "/proc")) return bad("mountPath is below /proc");
  if (!m.sub_path.empty()) {
    if (m.sub_path[0] == '/') return bad("subPath is absolute");
    CHECK_OK(check_path("subPath", "/" + m.sub_path));
  }
  return {};
}

}  // namespace

Result<> validate(const ContainerConfig& c) {
  if (!plain_name(c.id, 64, false)) return bad("container id \"" + c.id.substr(0, 64) + "\" is malformed");
  if (!plain_name(c.pod_uid, 128, true)) return bad("pod uid is malformed");
  if (c.args.empty() || c.args[0].empty()) return bad("no command specified");
  size_t bytes = 0;
  for (const std::string& arg : c.args) {
    bytes += arg.size() + 1;
    if (has_nul(arg)) return bad("command contains a NUL byte");
  }
  for (const auto& [name, value] : c.env) {
    bytes += name.size() + value.size() + 2;
    if (name.empty() || name.find('=') != std::string::npos || has_nul(name) || has_nul(value)) {
      return bad("environment variable \"" + name.substr(0, 64) + "\" is malformed");
    }
  }
  if (bytes > max_process_bytes) return bad("command and environment are larger than 1 MB");
  if (!c.cwd.empty()) {
    CHECK_OK(check_path("workingDir", c.cwd));
    if (below(c.cwd, "/proc")) return bad("workingDir is below /proc");
  }
  if (!c.log_path.empty()) CHECK_OK(check_path("log path", c.log_path));
  if (c.oom_score_adj < -1000 || c.oom_score_adj > 1000) return bad("oom_score_adj is out of range");
  if (c.mounts.size() > 512) return bad("more than 512 mounts");
  for (const BindMount& m : c.mounts) CHECK_OK(check_mount(m));
  if (c.lower_dirs.empty() || c.lower_dirs.size() > 200) return bad("image has no layer, or more than 200");
  for (const std::string& dir : c.lower_dirs) CHECK_OK(check_path("image layer", dir));
  Result<std::vector<std::string>> caps = effective_capabilities(c.add_capabilities, c.drop_capabilities);
  if (!caps) return std::unexpected(std::move(caps).error().with("securityContext.capabilities"));
  if (!c.seccomp_profile_json.empty()) {
    Result<> ok = json::validate(c.seccomp_profile_json);
    if (!ok) return std::unexpected(std::move(ok).error().with("seccomp profile"));
    if (json::Cursor(c.seccomp_profile_json).type() != json::Type::object)
      return bad("seccomp profile is no object");
  }
  return {};
}

Result<> check_sysctl(const std::string& name, bool host_network, bool host_ipc) {
  std::string dotted = name;
  std::replace(dotted.begin(), dotted.end(), '/', '.');
  if (dotted.empty() || dotted.size() > 253 || dotted[0] == '.' || dotted.find("..") != std::string::npos ||
      !std::all_of(dotted.begin(), dotted.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '_' || c == '-';
      })) {
    return bad("sysctl \"" + name.substr(0, 64) + "\" is malformed");
  }
  bool ipc = dotted.starts_with("kernel.shm") || dotted.starts_with("kernel.msg") || dotted == "kernel.sem" ||
             dotted.starts_with("fs.mqueue.");
  bool net = dotted.starts_with("net.");
  if (!ipc && !net) return bad("sysctl \"" + name + "\" is not namespaced");
  if ((ipc && host_ipc) || (net && host_network))
    return bad("sysctl \"" + name + "\" not allowed with the host's namespace");
  return {};
}

Result<> validate(const SandboxConfig& c) {
  if (!plain_name(c.pod_uid, 128, true))
    return bad("pod uid \"" + c.pod_uid.substr(0, 64) + "\" is malformed");
  if (c.hostname.size() > 63 || has_nul(c.hostname) ||
      c.hostname.find_first_of("/\n ") != std::string::npos) {
    return bad("hostname is malformed");
  }
  for (const auto& [name, value] : c.sysctls) {
    CHECK_OK(check_sysctl(name, c.host_network, c.host_ipc));
    if (value.size() > 256 || has_nul(value)) return bad("sysctl " + name + ": value is malformed");
  }
  return {};
}

}  // namespace limpet::node

// limpet reset: asks, ends limpetd if it may, and undoes everything.
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/atomic_file.h"
#include "cli/command_doctor.h"
#include "cli/format.h"
#include "cli/programs.h"
#include "cli/reset.h"
#include "cli/reset_parts.h"
#include "cli/reset_unit.h"
#include "net/nft_rules.h"
#include "store/data_dir_lock.h"

namespace limpet::cli {
namespace {

constexpr int64_t stop_ms = 60'000, look_ms = 100, look_up_ms = 10'000;

std::string asked(const DeviceConfig& d, bool with_config) {
  const std::string network =
      d.config.network.mode == "none"
          ? ""
          : ", the link " + d.config.network.bridge + ", the nft table " + net::NetworkRules().table;
  return "This ends every pod of this device at once and removes their volumes, the images, the store with "
         "all that the API "
         "holds, certificates, and logs: " +
         d.paths.data_dir + ", " + d.paths.run_dir + ", pods in " + d.paths.logs_dir + ", " +
         d.paths.admin_kubeconfig + ", pods in the control group " + d.config.cgroup_root + network +
         (with_config ? ", the configuration, and the manifests in " + d.paths.manifests_dir : "") +
         ". It cannot be undone.";
}

Outcome<> stop_unit(loop::Loop& loop, const std::string& unit) {
  const ProgramResult stopped = run_program(loop, {"systemctl", "stop", unit}, stop_ms);
  if (!stopped.ok) return failed(exit_failed, "systemctl stop " + unit + ": " + printable(stopped.out));
  return {};
}

// The unit whose main process this is; empty: none. A limpetd that somebody started by hand may be in the
// group of another unit, which is not to be stopped.
std::string unit_of(loop::Loop& loop, int64_t pid) {
  const std::string groups =
      read_file(strf("/proc/%lld/cgroup", static_cast<long long>(pid)), 64 * 1024).value_or("");
  const std::string unit = service_of_groups(groups);
  if (unit.empty()) return "";
  const ProgramResult shown = run_program(loop, {"systemctl", "show", "-p", "MainPID", unit}, look_up_ms);
  return shown.ok && shown.out == strf("MainPID=%lld\n", static_cast<long long>(pid)) ? unit : "";
}

// limpetd.service, when it is this device's and starts limpetd again and again, or is about to. Empty: no.
std::string starting_unit(Context& context) {
  const std::string unit = "limpetd.service";
  const ProgramResult shown = run_program(
      context.daemon.loop(), {"systemctl", "show", "-p", "ActiveState", "-p", "ExecStart", unit}, look_up_ms);
  const std::string& config = context.arguments.config;
  return shown.ok && unit_starts(shown.out, config.starts_with('/') ? config : real_path(config)) ? unit : "";
}

// By whoever watches over it, or it would be started again.
Outcome<> stop_limpetd(Context& context, const DeviceConfig& device, int64_t pid) {
  loop::Loop& loop = context.daemon.loop();
  if (const std::string unit = unit_of(loop, pid); !unit.empty()) {
    if (const auto stopped = stop_unit(loop, unit); !stopped) return stopped;
  } else if (kill(static_cast<pid_t>(pid), SIGTERM) != 0) {
    return failed(exit_failed, strf("limpetd (pid %lld) cannot be stopped", static_cast<long long>(pid)));
  }
  for (int64_t waited = 0; waited < stop_ms; waited += look_ms) {
    if (data_dir_holder(device.paths.data_dir) == 0) return {};
    (void)loop.run_until([] { return false; }, look_ms);
  }
  return failed(exit_failed, strf("limpetd (pid %lld) does not stop\ntry: kill -KILL %lld",
                                  static_cast<long long>(pid), static_cast<long long>(pid)));
}

// Held until the end, so that none starts in between. None where limpetd never was: nothing is removed there.
Outcome<std::optional<store::FileLock>> hold(const std::string& data_dir) {
  if (!is_data_dir(data_dir)) return std::optional<store::FileLock>();
  auto locked = store::lock_data_dir(data_dir);
  if (locked) return std::optional<store::FileLock>(std::move(*locked));
  // A disk on which no limpetd could lock it either.
  const int error = locked.error().sys_errno;
  if (error == EROFS || error == ENOSPC || error == EIO) return std::optional<store::FileLock>();
  return failed(exit_failed, locked.error().message + ": nothing was removed");
}

std::string lines(const char* label, const std::vector<std::string>& list, size_t width) {
  std::string out;
  for (const std::string& each : list) out += labelled(label, each, 12, width);
  return out;
}

}  // namespace

Outcome<int> run_reset(Context& context) {
  const Arguments& a = context.arguments;
  const DeviceConfig device = read_device_config(a);
  if (!device.problem.empty()) {
    return failed(
        exit_failed,
        "where limpet's places are cannot be told, since the configuration is wrong: " + device.problem);
  }
  if (geteuid() != 0) return failed(exit_failed, "this needs root");
  if (const std::string why = reset_refusal(device); !why.empty()) return failed(exit_failed, why);
  const int64_t pid = data_dir_holder(device.paths.data_dir);
  if (pid != 0 && !a.stop) {
    return failed(
        exit_failed,
        strf("limpetd runs (pid %lld): stop it first\ntry: systemctl stop limpetd, or limpet reset --stop",
             static_cast<long long>(pid)));
  }
  const std::string unit = pid == 0 ? starting_unit(context) : "";
  if (!unit.empty() && !a.stop) {
    return failed(exit_failed, unit + " is about to start limpetd: stop it first\ntry: systemctl stop " +
                                   unit + ", or limpet reset --stop");
  }
  if (!a.yes) {
    if (isatty(STDIN_FILENO) != 1)
      return failed(exit_usage, "nobody can be asked: --yes says that everything may go");
    if (!confirmed(context, asked(device, a.with_config))) return failed(exit_failed, "nothing was removed");
  }
  if (pid != 0) {
    if (const auto stopped = stop_limpetd(context, device, pid); !stopped)
      return std::unexpected(stopped.error());
  } else if (!unit.empty()) {
    if (const auto stopped = stop_unit(context.daemon.loop(), unit); !stopped)
      return std::unexpected(stopped.error());
  }
  const auto lock = hold(device.paths.data_dir);
  if (!lock) return std::unexpected(lock.error());
  const ResetReport report = reset_device(device, a.config, a.with_config);
  const size_t width = context.output.width;
  (void)context.output.err(lines("could not:", report.failed, width));
  const std::string text = lines("removed:", report.removed, width) + lines("kept:", report.kept, width);
  return print(context, text.empty() && report.failed.empty() ? "there was nothing to remove\n" : text,
               report.failed.empty() ? exit_done : exit_failed);
}

}  // namespace limpet::cli

// limpet reset: asks, ends limpetd if it may, and undoes everything.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "base/atomic_file.h"
#include "cli/command_doctor.h"
#include "cli/format.h"
#include "cli/programs.h"
#include "cli/reset.h"
#include "store/data_dir_lock.h"

namespace limpet::cli {
namespace {

constexpr int64_t stop_ms = 60'000, look_ms = 100;

std::string asked(const DeviceConfig& d, bool with_config) {
  return "This ends every pod of this device at once and removes their volumes, the images, the store with "
         "all that the API "
         "holds, certificates, and logs: " +
         d.paths.data_dir + ", " + d.paths.run_dir + ", pods in " + d.paths.logs_dir + ", " +
         d.paths.admin_kubeconfig + (with_config ? ", the configuration, and " + d.paths.manifests_dir : "") +
         ". It cannot be undone.";
}

bool confirmed(Context& context, const DeviceConfig& device) {
  (void)context.output.err(
      labelled("", asked(device, context.arguments.with_config), 0, context.output.width) +
      "Type yes to go on: ");
  std::string line;
  char c = 0;
  while (line.size() < 100 && read(STDIN_FILENO, &c, 1) == 1 && c != '\n') line += c;
  return line == "yes";
}

// By whoever watches over it, or it would be started again.
Outcome<> stop_limpetd(Context& context, const DeviceConfig& device, int64_t pid) {
  loop::Loop& loop = context.daemon.loop();
  const std::string unit =
      read_file(strf("/proc/%lld/cgroup", static_cast<long long>(pid)), 64 * 1024).value_or("");
  if (unit.find("limpetd.service") != std::string::npos) {
    const ProgramResult stopped = run_program(loop, {"systemctl", "stop", "limpetd"}, stop_ms);
    if (!stopped.ok) return failed(exit_failed, "systemctl stop limpetd: " + printable(stopped.out));
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
  const int64_t pid = data_dir_holder(device.paths.data_dir);
  if (pid != 0 && !a.stop) {
    return failed(
        exit_failed,
        strf("limpetd runs (pid %lld): stop it first\ntry: systemctl stop limpetd, or limpet reset --stop",
             static_cast<long long>(pid)));
  }
  if (!a.yes) {
    if (isatty(STDIN_FILENO) != 1)
      return failed(exit_usage, "nobody can be asked: --yes says that everything may go");
    if (!confirmed(context, device)) return failed(exit_failed, "nothing was removed");
  }
  if (pid != 0) {
    if (const auto stopped = stop_limpetd(context, device, pid); !stopped)
      return std::unexpected(stopped.error());
  }
  // Held until the end, so that none starts in between.
  std::optional<store::FileLock> lock;
  struct stat st{};
  if (stat(device.paths.data_dir.c_str(), &st) == 0) {
    auto locked = store::lock_data_dir(device.paths.data_dir);
    if (locked) {
      lock.emplace(std::move(*locked));
    } else if (locked.error().code == Errc::already_exists) {
      return failed(exit_failed, locked.error().message + ": nothing was removed");
    }
  }
  const ResetReport report = reset_device(device, a.config, a.with_config);
  const size_t width = context.output.width;
  (void)context.output.err(lines("could not:", report.failed, width));
  const std::string text = lines("removed:", report.removed, width) + lines("kept:", report.kept, width);
  return print(context, text.empty() && report.failed.empty() ? "there was nothing to remove\n" : text,
               report.failed.empty() ? exit_done : exit_failed);
}

}  // namespace limpet::cli

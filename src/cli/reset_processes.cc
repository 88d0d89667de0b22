// Ends the processes of this device's pods, and takes away their control groups and mounts.
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomic_file.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "cli/reset_parts.h"
#include "node/runtime/rootfs.h"

namespace limpet::cli {
namespace {

constexpr size_t max_mountinfo = 16 << 20;
constexpr int end_ms = 2000;

bool there(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

// "\040" of the kernel's tables as the byte.
std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    const auto octal = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// A program of that name with dir=DIR of a container of ours among its words.
bool is_shim(const std::string& pid, const std::set<std::string>& run_dirs) {
  char program[PATH_MAX];
  const ssize_t n = readlink(("/proc/" + pid + "/exe").c_str(), program, sizeof program);
  std::string_view name(program, n > 0 ? static_cast<size_t>(n) : 0);
  constexpr std::string_view replaced = " (deleted)";  // an upgrade puts another file in its place
  if (name.ends_with(replaced)) name.remove_suffix(replaced.size());
  if (!name.ends_with("/limpet-shim")) return false;
  const std::string words = read_file("/proc/" + pid + "/cmdline", 64 * 1024).value_or("");
  for (const std::string& dir : run_dirs) {
    // Behind the NUL that ends the word before it.
    const std::string word = "dir=" + dir + "/pods/";
    const size_t at = words.find(word);
    if (at != std::string::npos && at > 0 && words[at - 1] == '\0') return true;
  }
  return false;
}

std::vector<std::string> pod_groups(const node::Cgroups& groups, const std::string& root) {
  std::vector<std::string> out;
  for (const std::string& directory : groups.directories(root)) {
    for (std::string& name : list_directory(directory)) {
      struct stat st{};
      if (name.starts_with("pod") && lstat((directory + "/" + name).c_str(), &st) == 0 && S_ISDIR(st.st_mode))
        out.push_back(std::move(name));
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace

void end_shims(const std::set<std::string>& run_dirs) {
  std::vector<UniqueFd> ending;
  for (const std::string& pid : list_directory("/proc")) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    // Opened before it is looked at: what is signalled is what was seen, whoever gets the number next.
    UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, std::stoi(pid), 0)));
    if (!process || !is_shim(pid, run_dirs)) continue;
    if (syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0)
      ending.push_back(std::move(process));
  }
  for (const UniqueFd& process : ending) {
    pollfd wait{process.get(), POLLIN, 0};
    (void)poll(&wait, 1, end_ms);
  }
}

void end_groups(const node::Cgroups& groups, const std::string& root, const std::set<std::string>& uids,
                ResetReport& report) {
  const std::vector<std::string> directories = groups.directories(root);
  if (std::none_of(directories.begin(), directories.end(), there)) return;
  const auto end = [&](const std::string& group) {
    groups.kill_all(group);
    const auto gone = groups.remove(group);
    if (!gone) report.failed.push_back("the control group " + group + ": " + gone.error().message);
    return gone.has_value();
  };
  size_t ended = 0, others = 0;
  for (const std::string& name : pod_groups(groups, root)) {
    if (!uids.contains(name.substr(3))) {
      others++;
    } else if (end(root + "/" + name)) {
      ended++;
    }
  }
  if (others == 0) (void)end(root + "/shims");
  std::string rest;
  for (const std::string& directory : directories) {
    if (rmdir(directory.c_str()) != 0 && errno != ENOENT) rest = directory;
  }
  if (rest.empty()) {
    report.removed.push_back("containers, and the control groups " + root);
    return;
  }
  if (ended > 0)
    report.removed.push_back(
        strf("containers, and %zu control group%s in %s", ended, ended == 1 ? "" : "s", root.c_str()));
  report.kept.push_back("the control group " + root + ", since " +
                        (others > 0 ? strf("%zu pod%s in it %s not this device's", others,
                                           others == 1 ? "" : "s", others == 1 ? "is" : "are")
                                    : "it is not empty: " + rest));
}

std::vector<std::string> mounts_below(std::string_view mountinfo,
                                      const std::vector<std::string>& directories) {
  std::vector<std::string> out;
  while (!mountinfo.empty()) {
    const size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    for (int field = 0; field < 4; field++) line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
    const std::string point = unescaped(line.substr(0, line.find(' ')));
    for (const std::string& d : directories) {
      if (d.size() > 1 && point.starts_with(d + "/")) {
        out.insert(out.begin(), point);
        break;
      }
    }
  }
  return out;
}

std::vector<std::string> unmount_pods(const ResetPlaces& places, ResetReport& report) {
  // Below our own names only: somebody may have chosen a directory that others use too.
  std::vector<std::string> ours, all;
  const auto add = [&](const std::string& directory, const std::vector<std::string>& names) {
    all.push_back(directory);
    for (const std::string& name : names) ours.push_back(directory + "/" + name);
  };
  if (places.run_ours) add(places.run_dir, own_names_in_run_dir());
  if (places.data_ours) add(places.data_dir, own_names_in_data_dir());
  const auto mounted = [](const std::vector<std::string>& below) {
    return mounts_below(read_file("/proc/self/mountinfo", max_mountinfo).value_or(""), below);
  };
  // Mounts may lie upon each other: as often as it helps.
  for (size_t before = SIZE_MAX;;) {
    const std::vector<std::string> points = mounted(ours);
    if (points.empty() && before != SIZE_MAX) report.removed.push_back("mounts of pods");
    if (points.empty() || points.size() >= before) break;
    before = points.size();
    // All of them first: what is unmounted goes wherever the mount around it has peers.
    for (const std::string& p : points) node::part_from_peers(p);
    for (const std::string& p : points) (void)node::unmount(p).has_value();
  }
  return mounted(all);
}

}  // namespace limpet::cli

// limpet doctor: gathers the facts, lets every check look, prints.
#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/atomic_file.h"
#include "cli/command_doctor.h"
#include "cli/commands.h"
#include "cli/device_config.h"
#include "cli/doctor/apart.h"
#include "cli/doctor/registry.h"
#include "cli/format.h"
#include "cli/programs.h"

namespace limpet::cli {
namespace {

using doctor::Finding;
using doctor::Level;

constexpr int64_t program_ms = 3000, answer_ms = 3000;
constexpr size_t label_width = 24;

std::optional<doctor::Space> space_at(std::string path) {
  struct statvfs fs{};
  while (statvfs(path.c_str(), &fs) != 0) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos || path == "/") return {};
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  const auto bytes = [&](fsblkcnt_t n) { return static_cast<int64_t>(uint64_t{n} * fs.f_frsize); };
  return doctor::Space{bytes(fs.f_blocks), bytes(fs.f_bavail), static_cast<int64_t>(fs.f_files),
                       static_cast<int64_t>(fs.f_favail), (fs.f_flag & ST_RDONLY) != 0};
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  for (const ifaddrs* a = list; a; a = a->ifa_next) {
    char text[INET6_ADDRSTRLEN] = {};
    if (!a->ifa_addr) continue;
    if (a->ifa_addr->sa_family == AF_INET) {
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(a->ifa_addr)->sin_addr, text, sizeof text);
    } else if (a->ifa_addr->sa_family == AF_INET6) {
      const auto* in6 = &reinterpret_cast<const sockaddr_in6*>(a->ifa_addr)->sin6_addr;
      if (!IN6_IS_ADDR_LINKLOCAL(in6)) inet_ntop(AF_INET6, in6, text, sizeof text);
    }
    if (*text) out.emplace_back(text);
  }
  freeifaddrs(list);
  return out;
}

std::vector<std::string> registries_of_pods(json::Ref pods) {
  std::vector<std::string> out;
  for (json::Ref pod : pods["items"]) {
    for (const char* list : {"initContainers", "containers"}) {
      for (json::Ref container : pod["spec"][list]) {
        std::string registry = doctor::registry_of_image(container["image"].str());
        if (!registry.empty() && std::find(out.begin(), out.end(), registry) == out.end())
          out.push_back(std::move(registry));
      }
    }
  }
  return out;
}

void ask_daemon(loop::Loop& loop, const std::string& socket, doctor::Machine& m) {
  doctor::Daemon& d = m.daemon;
  if (access(socket.c_str(), R_OK | W_OK) != 0) {
    d.forbidden = d.forbidden || errno == EACCES || errno == EPERM;
    return;
  }
  Connection connection(loop, socket, answer_ms);
  const auto status = connection.get("/limpet/v1/status");
  if (!status) return;
  d.answers = true;
  if (const auto pods = connection.get("/api/v1/pods")) m.pod_registries = registries_of_pods(pods->ref());
  if (d.pid == 0) d.pid = status->ref()["daemon"]["pid"].integer();
  for (json::Ref part : status->ref()["notReady"]) {
    d.not_ready += (d.not_ready.empty() ? "" : "; ") + printable(part["part"].str()) + ": " +
                   printable(part["reason"].str());
  }
  const std::string_view network = status->ref()["networkProblem"].str();
  if (d.not_ready.empty() && !network.empty()) d.not_ready = printable(network);
}

std::string line(const Output& output, const Finding& f) {
  const std::string label = strf("%-9s%s:", doctor::level_name(f.level), f.check);
  std::string text =
      labelled(label, f.remedy.empty() ? f.text : f.text + " " + f.remedy, label_width, output.width);
  const Colour colour = f.level == Level::problem   ? Colour::red
                        : f.level == Level::warning ? Colour::yellow
                        : f.level == Level::ok      ? Colour::green
                                                    : Colour::none;
  const size_t word = std::string_view(doctor::level_name(f.level)).size();
  return coloured(output, colour, text.substr(0, word)) + text.substr(word);
}

size_t count(const doctor::Findings& findings, Level level) {
  size_t n = 0;
  for (const Finding& f : findings) n += f.level == level;
  return n;
}

}  // namespace

// "12: FLOCK  ADVISORY  WRITE 345 fd:01:6789 0 EOF", the inode in decimal.
std::vector<int64_t> lock_holders(std::string_view locks, uint64_t inode) {
  std::vector<int64_t> out;
  while (!locks.empty()) {
    const size_t end = std::min(locks.find('\n'), locks.size());
    const std::string one(locks.substr(0, end));
    locks.remove_prefix(std::min(end + 1, locks.size()));
    int pid = 0;
    unsigned long long node = 0;
    if (sscanf(one.c_str(), "%*d: FLOCK ADVISORY WRITE %d %*x:%*x:%llu", &pid, &node) == 2 && node == inode)
      out.push_back(pid);
  }
  return out;
}

Holder find_holder(const std::string& data_dir, std::string_view locks) {
  const auto denied = [] { return errno == EACCES || errno == EPERM; };
  struct stat lock{};
  if (stat((data_dir + "/lock").c_str(), &lock) != 0) return {0, denied()};
  Holder holder;
  for (const int64_t pid : lock_holders(locks, lock.st_ino)) {
    if (pid <= 1) continue;  // of another pid namespace, or init, which is never ours to name
    const std::string directory = strf("/proc/%lld/fd", static_cast<long long>(pid));
    DIR* d = opendir(directory.c_str());
    if (!d) {
      holder.forbidden = holder.forbidden || denied();
      continue;
    }
    bool open = false;
    while (const dirent* entry = readdir(d)) {
      struct stat st{};
      open = open || (fstatat(dirfd(d), entry->d_name, &st, 0) == 0 && st.st_dev == lock.st_dev &&
                      st.st_ino == lock.st_ino);
    }
    closedir(d);
    if (open) return {pid, false};
  }
  return holder;
}

Holder find_holder(const std::string& data_dir) {
  return find_holder(data_dir, read_file("/proc/locks", 1 << 20).value_or(""));
}

int64_t data_dir_holder(const std::string& data_dir) { return find_holder(data_dir).pid; }

doctor::Findings diagnose(Context& context, const std::function<void(const Finding&)>& tell) {
  const DeviceConfig device = read_device_config(context.arguments);
  loop::Loop& loop = context.daemon.loop();
  doctor::Machine m;
  m.config = device.config;
  m.paths = device.paths;
  m.paths.socket = context.daemon.socket_path();
  m.clock = SystemClock::machine();
  m.built = SystemClock::build_time();
  timex t{};
  const int state = adjtimex(&t);
  if (state >= 0) m.synchronised = state != TIME_ERROR && (t.status & STA_UNSYNC) == 0;
  m.addresses = own_addresses();
  // Apart: the directory may be on a disk that does not answer.
  m.holder = [directory = m.paths.data_dir] { return data_dir_holder(directory); };
  const auto held = doctor::apart(m.patience_ms, [&] {
    const Holder holder = find_holder(m.paths.data_dir);
    return strf("%lld %d", static_cast<long long>(holder.pid), holder.forbidden);
  });
  long long pid = 0;
  int forbidden = 0;
  if (held && sscanf(held->c_str(), "%lld %d", &pid, &forbidden) == 2) {
    m.daemon.pid = pid;
    m.daemon.forbidden = forbidden != 0;
  }
  ask_daemon(loop, m.paths.socket, m);
  m.space = space_at;
  m.run = [&loop](std::vector<std::string> argv) {
    const ProgramResult r = run_program(loop, std::move(argv), program_ms);
    return doctor::Ran{r.started, r.ok, r.out};
  };
  doctor::RegistryAsker asker(loop, context.clock, m.config);
  m.ask_registries = [&](const std::vector<std::string>& registries) {
    return asker.ask(registries, m.patience_ms);
  };
  if (!context.arguments.registry.empty())
    m.registries = {doctor::registry_of_url(context.arguments.registry)};
  doctor::Findings out;
  const auto add = [&](const Finding& f) {
    if (tell) tell(f);
    out.push_back(f);
  };
  if (!device.problem.empty()) {
    add({"configuration", Level::problem,
         "The configuration is wrong: " + device.problem + (device.problem.ends_with('?') ? "" : "."),
         "Correct it; limpetd does not start with it, and what follows is about the default places."});
  }
  if (!held) {
    add({"limpetd", Level::problem,
         strf("%s did not answer in %lld s: its disk hangs.", m.paths.data_dir.c_str(),
              static_cast<long long>(m.patience_ms / 1000)),
         "Look at dmesg for errors of the disk, and save what you need of it."});
  }
  (void)doctor::examine(m, add);
  return out;
}

std::string findings_json(const doctor::Findings& findings) {
  json::Writer w;
  w.begin_object().field("problems", static_cast<int64_t>(count(findings, Level::problem)));
  w.field("warnings", static_cast<int64_t>(count(findings, Level::warning))).key("findings").begin_array();
  for (const Finding& f : findings) {
    w.begin_object().field("check", f.check).field("level", doctor::level_name(f.level));
    w.field("text", f.text).field("remedy", f.remedy).end_object();
  }
  w.end_array().end_object();
  return w.take() + "\n";
}

Outcome<int> run_doctor(Context& context) {
  // In text each at once: on a failing device the later ones take their time.
  bool read = true;
  const auto findings = diagnose(context, [&](const Finding& f) {
    if (!context.arguments.json) read = read && context.output.out(line(context.output, f));
  });
  const size_t problems = count(findings, Level::problem), warnings = count(findings, Level::warning);
  const int status = problems > 0 ? exit_failed : exit_done;
  if (context.arguments.json) return print(context, findings_json(findings), status);
  if (!read) return std::unexpected(Failure{});
  const std::string out = strf("%zu problem%s, %zu warning%s\n", problems, problems == 1 ? "" : "s", warnings,
                               warnings == 1 ? "" : "s");
  return print(context, out, status);
}

}  // namespace limpet::cli

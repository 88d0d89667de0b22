// limpet doctor: gathers the facts, lets every check look, prints.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include <cstdio>

#include "base/atomic_file.h"
#include "cli/command_doctor.h"
#include "cli/commands.h"
#include "cli/device_config.h"
#include "cli/format.h"
#include "cli/programs.h"

namespace limpet::cli {
namespace {

using doctor::Finding;
using doctor::Level;

constexpr int64_t program_ms = 3000, dial_ms = 2000, answer_ms = 3000;
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

// A name is looked up by a program that can be given up: the C library's own look-up cannot.
std::string dial(loop::Loop& loop, const std::string& host, uint16_t port) {
  std::string address = host;
  unsigned char raw[16];
  if (inet_pton(AF_INET, host.c_str(), raw) != 1 && inet_pton(AF_INET6, host.c_str(), raw) != 1) {
    const ProgramResult found = run_program(loop, {"getent", "ahosts", host}, program_ms);
    if (found.started && !found.ok) return "its name is not known, or no name server answers";
    if (found.ok) address = found.out.substr(0, found.out.find_first_of(" \n"));
  }
  http::PlainDialer dialer;
  http::Origin where;
  where.host = address;
  where.port = port;
  std::string why = "no answer in time";
  bool done = false;
  const auto call = dialer.connect(loop, where, dial_ms, [&](Result<std::unique_ptr<loop::Stream>> stream) {
    why = stream ? "" : stream.error().message;
    done = true;
  });
  (void)loop.run_until([&] { return done; }, dial_ms + 500);
  return why;
}

void ask_daemon(loop::Loop& loop, const std::string& socket, doctor::Daemon& d) {
  Connection connection(loop, socket, answer_ms);
  const auto status = connection.get("/limpet/v1/status");
  if (!status) return;
  d.answers = true;
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
int64_t lock_holder(std::string_view locks, uint64_t inode) {
  while (!locks.empty()) {
    const size_t end = std::min(locks.find('\n'), locks.size());
    const std::string one(locks.substr(0, end));
    locks.remove_prefix(std::min(end + 1, locks.size()));
    int pid = 0;
    unsigned major = 0, minor = 0;
    unsigned long long node = 0;
    if (sscanf(one.c_str(), "%*d: FLOCK ADVISORY WRITE %d %x:%x:%llu", &pid, &major, &minor, &node) == 4 &&
        node == inode)
      return pid;
  }
  return 0;
}

int64_t data_dir_holder(const std::string& data_dir) {
  struct stat st{};
  if (stat((data_dir + "/lock").c_str(), &st) != 0) return 0;
  return lock_holder(read_file("/proc/locks", 1 << 20).value_or(""), st.st_ino);
}

doctor::Findings diagnose(Context& context) {
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
  m.daemon.pid = data_dir_holder(m.paths.data_dir);
  ask_daemon(loop, m.paths.socket, m.daemon);
  m.space = space_at;
  m.run = [&loop](std::vector<std::string> argv) {
    const ProgramResult r = run_program(loop, std::move(argv), program_ms);
    return doctor::Ran{r.started, r.ok, r.out};
  };
  m.dial = [&loop](const std::string& host, uint16_t port) { return dial(loop, host, port); };
  if (!context.arguments.registry.empty()) m.registries = {context.arguments.registry};
  doctor::Findings out = doctor::examine(m);
  if (!device.problem.empty()) {
    out.insert(out.begin(),
               {"configuration", Level::problem,
                "The configuration is wrong: " + device.problem + (device.problem.ends_with('?') ? "" : "."),
                "Correct it; limpetd does not start with it, and what follows is about the default places."});
  }
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
  const doctor::Findings findings = diagnose(context);
  const size_t problems = count(findings, Level::problem), warnings = count(findings, Level::warning);
  const int status = problems > 0 ? exit_failed : exit_done;
  if (context.arguments.json) return print(context, findings_json(findings), status);
  std::string out;
  for (const Finding& f : findings) out += line(context.output, f);
  out += strf("%zu problem%s, %zu warning%s\n", problems, problems == 1 ? "" : "s", warnings,
              warnings == 1 ? "" : "s");
  return print(context, out, status);
}

}  // namespace limpet::cli

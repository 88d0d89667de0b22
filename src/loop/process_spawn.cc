#include "loop/process_spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

namespace limpet::loop {
namespace {

enum class Step : int { session, groups, gid, uid, cwd, descriptors, exec };
constexpr const char* step_names[] = {"setsid", "setgroups",   "setgid", "setuid",
                                      "chdir",  "descriptors", "exec"};

struct Report {
  Step step;
  int err;
};

// Everything the child needs, made before fork: between fork and exec it may only make async-signal-safe
// calls.
struct Child {
  const char* file;
  char** argv;
  char** envp;
  const char* cwd;
  const std::pair<int, int>* fds;  // child's number, ours; sorted by the child's number, 0 to 2 included
  int* staged;                     // scratch, one per entry of fds
  size_t count;
  bool new_session;
  const uid_t* uid;
  const gid_t* gid;
  int report_fd;
};

[[noreturn]] void give_up(const Child& c, Step step) {
  const Report report{step, errno};
  [[maybe_unused]] const ssize_t n = write(c.report_fd, &report, sizeof report);
  _exit(127);
}

void default_signals() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (int i = 1; i < NSIG; ++i) sigaction(i, &action, nullptr);  // fails for SIGKILL and SIGSTOP
}

// Moves every source out of the way of the targets, then into place; the copies are not close-on-exec.
bool place_descriptors(Child& c, int first_free) {
  c.report_fd = fcntl(c.report_fd, F_DUPFD_CLOEXEC, first_free);
  if (c.report_fd < 0) return false;
  for (size_t i = 0; i < c.count; ++i) {
    c.staged[i] = fcntl(c.fds[i].second, F_DUPFD_CLOEXEC, first_free);
    if (c.staged[i] < 0) return false;
  }
  for (size_t i = 0; i < c.count; ++i) {
    if (dup2(c.staged[i], c.fds[i].first) < 0) return false;
  }
  return true;
}

bool is_target(const Child& c, int fd) {
  for (size_t i = 0; i < c.count; ++i) {
    if (c.fds[i].first == fd) return true;
  }
  return false;
}

// Marks rather than closes, since the report pipe must live until exec.
void close_the_rest(const Child& c, int first_free) {
  for (int fd = 3; fd < first_free; ++fd) {
    if (!is_target(c, fd)) close(fd);
  }
  if (syscall(SYS_close_range, first_free, ~0u, CLOSE_RANGE_CLOEXEC) == 0) return;
  for (int fd = first_free; fd < 65536; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);  // before Linux 5.11
}

[[noreturn]] void run_child(Child c) {
  const int first_free = std::max(c.fds[c.count - 1].first + 1, 3);
  default_signals();
  if (c.new_session && setsid() < 0) give_up(c, Step::session);
  if (!place_descriptors(c, first_free)) give_up(c, Step::descriptors);
  close_the_rest(c, first_free);
  if (c.cwd != nullptr && chdir(c.cwd) != 0) give_up(c, Step::cwd);
  if ((c.uid != nullptr || c.gid != nullptr) && setgroups(0, nullptr) != 0 && errno != EPERM)
    give_up(c, Step::groups);
  if (c.gid != nullptr && setresgid(*c.gid, *c.gid, *c.gid) != 0) give_up(c, Step::gid);
  if (c.uid != nullptr && setresuid(*c.uid, *c.uid, *c.uid) != 0) give_up(c, Step::uid);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(c.file, c.argv, c.envp);
  give_up(c, Step::exec);
}

std::string find_program(const ProcessOptions& options) {
  const std::string& name = options.argv[0];
  if (name.find('/') != std::string::npos) return name;
  std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& variable : options.env) {
    if (variable.starts_with("PATH=")) path = std::string_view(variable).substr(5);
  }
  while (!path.empty()) {
    const size_t end = std::min(path.find(':'), path.size());
    std::string candidate = std::string(path.substr(0, end)) + "/" + name;
    struct stat st{};
    if (end > 0 && stat(candidate.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
        access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return "";
}

std::vector<char*> pointers(const std::vector<std::string>& list) {
  std::vector<char*> out;
  for (const std::string& s : list) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

Result<> check(const ProcessOptions& options) {
  if (options.argv.empty()) return fail(Errc::invalid_argument, "no program to run");
  for (const auto* list : {&options.argv, &options.env}) {
    for (const std::string& s : *list) {
      if (s.find('\0') != std::string::npos)
        return fail(Errc::invalid_argument, "NUL in argument or environment");
    }
  }
  for (const auto& [number, fd] : options.fds) {
    if (number < 3 || number > 255 || fd < 0)
      return fail(Errc::invalid_argument, "bad descriptor for a child");
  }
  return {};
}

}  // namespace

Result<pid_t> spawn(const SpawnPlan& plan) {
  const ProcessOptions& options = *plan.options;
  CHECK_OK(check(options));
  const std::string file = find_program(options);
  if (file.empty()) return fail(Errc::not_found, options.argv[0] + ": not found in PATH");
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return fail_errno(errno, "open /dev/null");
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
  UniqueFd report_read(report[0]), report_write(report[1]);

  std::vector<std::pair<int, int>> fds;
  for (int i = 0; i < 3; ++i) fds.emplace_back(i, plan.stdio[i] >= 0 ? plan.stdio[i] : null.get());
  fds.insert(fds.end(), options.fds.begin(), options.fds.end());
  std::sort(fds.begin(), fds.end());
  std::vector<int> staged(fds.size());
  std::vector<char*> argv = pointers(options.argv), envp = pointers(options.env);
  const Child child{.file = file.c_str(),
                    .argv = argv.data(),
                    .envp = envp.data(),
                    .cwd = options.cwd.empty() ? nullptr : options.cwd.c_str(),
                    .fds = fds.data(),
                    .staged = staged.data(),
                    .count = fds.size(),
                    .new_session = options.new_session,
                    .uid = options.uid ? &*options.uid : nullptr,
                    .gid = options.gid ? &*options.gid : nullptr,
                    .report_fd = report_write.get()};

  // No handler of ours may run in the child before its dispositions are back to default.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  const int fork_errno = errno;
  if (pid == 0) run_child(child);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail_errno(fork_errno, "fork");

  report_write.reset();
  Report failure{};
  ssize_t n;
  do {
    n = read(report_read.get(), &failure, sizeof failure);
  } while (n < 0 && errno == EINTR);
  if (n != sizeof failure) return pid;  // end of file: exec happened
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return std::unexpected(
      std::move(fail_errno(failure.err, step_names[static_cast<int>(failure.step)]).error()).with(file));
}

}  // namespace limpet::loop

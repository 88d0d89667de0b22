#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"
#include "net/nft_rules.h"

namespace limpet::net {

namespace {

constexpr int kDeadlineMs = 20000;

Result<UniqueFd> memory_file(const char* name, std::string_view bytes) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd) return fail_errno(errno, "make a memory file");
  while (!bytes.empty()) {
    const ssize_t n = write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "fill a memory file");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

std::string first_lines(int fd) {
  char text[400];
  const ssize_t n = pread(fd, text, sizeof text, 0);
  std::string out(text, n > 0 ? static_cast<size_t>(n) : 0);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  for (char& c : out) {
    if (c == '\n') c = ' ';
  }
  return out;
}

Result<pid_t> spawn_nft(int input, int output) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, input, 0);
  posix_spawn_file_actions_adddup2(&files, output, 1);
  posix_spawn_file_actions_adddup2(&files, output, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  char arg0[] = "nft", arg1[] = "-f", arg2[] = "-";
  char* argv[] = {arg0, arg1, arg2, nullptr};
  char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C";
  char* envp[] = {path, locale, nullptr};
  pid_t pid = -1;
  int err = ENOENT;
  for (const char* program : {"/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft", "/usr/bin/nft"}) {
    if (access(program, X_OK) != 0) continue;
    err = posix_spawn(&pid, program, &files, &attributes, argv, envp);
    break;
  }
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (err == ENOENT) {
    return fail(Errc::not_found, "the program nft is missing: install the package nftables");
  }
  if (err != 0) return fail_errno(err, "start nft");
  return pid;
}

}  // namespace

Result<> run_nft(const std::string& script) {
  TRY(const UniqueFd input, memory_file("nft-script", script));
  TRY(const UniqueFd output, memory_file("nft-output", ""));
  TRY(const pid_t pid, spawn_nft(input.get(), output.get()));
  const UniqueFd watch(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd p{watch.get(), POLLIN, 0};
  const bool late = watch && poll(&p, 1, kDeadlineMs) == 0;
  if (late) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (late)
    return fail(Errc::timeout, strf("nft did not finish within %d s and was ended", kDeadlineMs / 1000));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const std::string text = first_lines(output.get());
  return fail(Errc::io, "nft refused the rules: " + (text.empty() ? "no reason given" : text));
}

}  // namespace limpet::net

#include "daemon/process_setup.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/unique_fd.h"

namespace limpet::daemon {
namespace {

// Below every pod (Kubernetes gives guaranteed pods -997 and critical node services -999; containers get
// their own value from the runtime), above what must never be killed.
constexpr int oom_score = -998;

Result<> lower_oom_score() {
  UniqueFd fd(open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open /proc/self/oom_score_adj");
  char text[16] = {};
  const ssize_t n = read(fd.get(), text, sizeof text - 1);
  if (n > 0 && strtol(text, nullptr, 10) <= oom_score) return {};
  const std::string wanted = std::to_string(oom_score);
  if (pwrite(fd.get(), wanted.data(), wanted.size(), 0) < 0)
    return fail_errno(errno, "write /proc/self/oom_score_adj");
  return {};
}

// glibc gives each thread memory of its own, of which some stays with it when all of it is free. Two are for
// the loop and the store; the threads of the pool, which have little, use these.
void share_memory_among_threads() { mallopt(M_ARENA_MAX, 2); }

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);  // up to the hard limit needs no privilege
}

}  // namespace

void ensure_standard_descriptors() {
  while (true) {
    const int fd = open("/dev/null", O_RDWR);  // NOLINT: 0 to 2 are meant to be inherited
    if (fd < 0) return;
    if (fd > STDERR_FILENO) {
      close(fd);
      return;
    }
  }
}

void set_up_process() {
  share_memory_among_threads();
  umask(0022);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  raise_descriptor_limit();
  if (auto lowered = lower_oom_score(); !lowered) {
    log::warning("the daemon is not protected from the out-of-memory killer, going on",
                 {{"error", lowered.error()}});
  }
}

}  // namespace limpet::daemon

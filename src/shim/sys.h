// Small helpers over the kernel's calls for limpet-shim: files, process identity, running crun or runc.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "shim/text.h"

namespace limpet::shim {

// KEY=VALUE words of the command line. Values live as long as the process.
class Args {
 public:
  Args(int argc, char** argv) : argc_(argc), argv_(argv) {}
  const char* get(const char* key, const char* otherwise = "") const;
  int64_t number(const char* key, int64_t otherwise) const;
  bool flag(const char* key) const { return number(key, 0) != 0; }
  // Calls f with each value of a key that may come more than once.
  template <class F>
  void each(const char* key, F f) const {
    size_t n = strlen(key);
    for (int i = 0; i < argc_; ++i) {
      if (strncmp(argv_[i], key, n) == 0 && argv_[i][n] == '=') f(argv_[i] + n + 1);
    }
  }

 private:
  int argc_;
  char** argv_;
};

// Bytes read (at most size - 1, NUL put behind), or -errno.
ssize_t read_file(const char* path, char* buffer, size_t size);
// The last size - 1 bytes of a file.
ssize_t read_tail(const char* path, char* buffer, size_t size);
// Write to a temporary name beside it, rename. 0 or -errno.
int write_file_atomic(const char* path, const char* data, size_t n);
int write_file(const char* path, const char* data);  // an existing one, as in /proc or a cgroup. 0 or -errno

// Field 22 of /proc/PID/stat: start time in clock ticks since boot; 0 when there is no such process.
uint64_t process_start_time(pid_t pid);
void add_boot_id(TextRef& out);
// The number behind `key` ("oom_kill") in a file of "key number" lines; 0 when missing.
uint64_t keyed_number(const char* path, const char* key);

void redirect_to_null(int fd);
int64_t monotonic_ms();

// Name, arguments and standard streams of a child. -1 leaves /dev/null there.
struct Spawn {
  const char* const* argv = nullptr;
  int in = -1, out = -1, err = -1;
};
// fork and exec in a process group of its own with default signals; every other descriptor is closed.
// The pid, or -errno.
pid_t spawn(const Spawn& what);
// SIGKILL to every child of this process, and what they leave to it as subreaper, except `spare`.
void kill_children(pid_t spare);

// The words for a person: "msg" of the last line of a JSON log, or the text's last line.
void add_last_message(TextRef& out, const char* log, size_t n);

// A listening unix socket NAME in the current directory, mode 0600. The descriptor or -errno.
int listen_here(const char* name, int backlog);
// One descriptor by SCM_RIGHTS, or -errno.
int receive_fd(int socket);
int send_fd(int socket, uint8_t type, int fd);

}  // namespace limpet::shim

// Child processes: started, watched by pid, bounded in output and time, reaped here and nowhere else.
//
// The child gets exactly the descriptors named (everything else is closed with close_range), default signal
// dispositions and an empty signal mask. Exec failures come back as the Error of start(). Collected output
// beyond its limit is read and thrown away, so that a chatty child neither blocks nor grows the daemon.
// Output ends with the child: a grandchild that keeps the pipe open is not waited for.
//
// Destroying a Process whose child still runs kills it (SIGKILL) and reaps it in the background; release()
// lets it live on. Linux 5.3 or later (pidfd).
#pragma once

#include <sys/types.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "loop/loop.h"
#include "loop/stream.h"

namespace limpet::loop {

// What one of the child's descriptors 0, 1, 2 is.
struct Stdio {
  enum class Kind {
    null,     // /dev/null
    fd,       // a descriptor of ours, which we keep
    data,     // descriptor 0 only: `input`, then end of file
    collect,  // 1 and 2 only: into ProcessExit, at most `limit` bytes
    stream,   // a pipe whose other end take_stream() hands out
  } kind = Kind::null;
  int fd = -1;
  std::string input;
  size_t limit = 64 * 1024;

  static Stdio none() { return {}; }
  static Stdio inherit(int fd) { return {.kind = Kind::fd, .fd = fd, .input = {}}; }
  static Stdio data(std::string input) { return {.kind = Kind::data, .input = std::move(input)}; }
  static Stdio collect(size_t limit = 64 * 1024) {
    return {.kind = Kind::collect, .input = {}, .limit = limit};
  }
  static Stdio stream() { return {.kind = Kind::stream, .input = {}}; }
};

struct ProcessOptions {
  std::vector<std::string>
      argv;  // argv[0] without a slash is looked up in the PATH of `env`, else in the usual one
  std::vector<std::string> env;  // "NAME=value"; nothing is inherited
  std::string cwd;               // empty: ours
  Stdio in, out, err;
  std::vector<std::pair<int, int>> fds;  // {number in the child (3 or more), descriptor of ours}
  bool new_session = false;              // setsid; kill() and the deadline then reach the whole process group
  std::optional<uid_t> uid;              // with it, supplementary groups are dropped
  std::optional<gid_t> gid;
  int64_t deadline_ms = 0;  // killed (SIGKILL) after this long; 0: never
};

struct ProcessExit {
  int status = 0;  // exit status, -1 when a signal ended it
  int signal = 0;  // the signal that ended it, or 0
  bool timed_out = false;
  std::string out;  // collected
  std::string err;
  bool truncated = false;  // a limit cut either of them

  bool ok() const { return status == 0 && signal == 0; }
  std::string describe() const;  // "exit status 3", "killed by signal 9 (deadline)"
};

class Process {
 public:
  using OnExit = std::function<void(ProcessExit)>;
  Process() = default;
  ~Process();
  Process(const Process&) = delete;

  // The callback comes once, unless the Process is destroyed or released before. Destroying it in there is
  // fine.
  Result<> start(Loop& loop, ProcessOptions options, OnExit f);
  bool running() const;
  pid_t pid() const;  // 0 before start; stays after the exit
  Result<> kill(int signum);
  // Our end of a Kind::stream descriptor (0, 1 or 2), once.
  std::unique_ptr<Stream> take_stream(int number);
  // Lets the child run on without us. It stays a zombie after its exit until we exit.
  void release();

 private:
  struct Impl;
  Impl* impl_ = nullptr;
};

}  // namespace limpet::loop

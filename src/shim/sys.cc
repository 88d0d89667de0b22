#include "shim/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <initializer_list>

namespace limpet::shim {

const char* Args::get(const char* key, const char* otherwise) const {
  const char* found = otherwise;
  each(key, [&](const char* value) { found = value; });
  return found;
}

int64_t Args::number(const char* key, int64_t otherwise) const {
  const char* text = get(key);
  if (text[0] == 0) return otherwise;
  char* end = nullptr;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  return errno != 0 || *end != 0 ? otherwise : value;
}

namespace {

ssize_t read_from(int fd, char* buffer, size_t size) {
  size_t used = 0;
  while (used + 1 < size) {
    ssize_t n = read(fd, buffer + used, size - 1 - used);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    used += static_cast<size_t>(n);
  }
  buffer[used] = 0;
  return static_cast<ssize_t>(used);
}

}  // namespace

ssize_t read_file(const char* path, char* buffer, size_t size) {
  buffer[0] = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return -errno;
  ssize_t n = read_from(fd, buffer, size);
  close(fd);
  return n;
}

ssize_t read_tail(const char* path, char* buffer, size_t size) {
  buffer[0] = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
  if (fd < 0) return -errno;
  off_t end = lseek(fd, 0, SEEK_END);
  off_t from = end > static_cast<off_t>(size - 1) ? end - static_cast<off_t>(size - 1) : 0;
  lseek(fd, from, SEEK_SET);
  ssize_t n = read_from(fd, buffer, size);
  close(fd);
  return n;
}

int write_file_atomic(const char* path, const char* data, size_t n) {
  Text<512> temporary;
  temporary.add(path).add(".tmp");
  if (temporary.cut()) return -ENAMETOOLONG;
  int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return -errno;
  while (n > 0) {
    ssize_t written = write(fd, data, n);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      int err = errno;
      close(fd);
      unlink(temporary.c_str());  // its share of a full disk
      return -(err != 0 ? err : EIO);
    }
    data += written;
    n -= static_cast<size_t>(written);
  }
  close(fd);
  return rename(temporary.c_str(), path) == 0 ? 0 : -errno;
}

int write_file(const char* path, const char* data) {
  int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return -errno;
  ssize_t n = write(fd, data, strlen(data));
  int err = n < 0 ? -errno : 0;
  close(fd);
  return err;
}

uint64_t process_start_time(pid_t pid) {
  Text<64> path;
  path.add("/proc/").add_number(pid).add("/stat");
  char stat[1024];
  if (read_file(path.c_str(), stat, sizeof stat) <= 0) return 0;
  const char* p = strrchr(stat, ')');  // the name may hold spaces and parentheses
  for (int field = 2; p != nullptr && field < 22; ++field) p = strchr(p + 1, ' ');
  return p != nullptr ? strtoull(p + 1, nullptr, 10) : 0;
}

void add_boot_id(TextRef& out) {
  char id[64];
  ssize_t n = read_file("/proc/sys/kernel/random/boot_id", id, sizeof id);
  while (n > 0 && id[n - 1] == '\n') --n;
  if (n > 0) out.add(id, static_cast<size_t>(n));
}

uint64_t keyed_number(const char* path, const char* key) {
  char text[2048];
  if (read_file(path, text, sizeof text) <= 0) return 0;
  size_t n = strlen(key);
  for (const char* line = text; line != nullptr; line = strchr(line, '\n')) {
    if (*line == '\n') ++line;
    if (strncmp(line, key, n) == 0 && line[n] == ' ') return strtoull(line + n + 1, nullptr, 10);
  }
  return 0;
}

void redirect_to_null(int fd) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  dup2(null, fd);
  if (null != fd) close(null);
}

int64_t monotonic_ms() {
  timespec ts{};
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return static_cast<int64_t>(ts.tv_sec) * 1000 + ts.tv_nsec / 1000000;
}

pid_t spawn(const Spawn& what) {
  pid_t pid = fork();
  if (pid != 0) return pid < 0 ? -errno : pid;
  setpgid(0, 0);
  int wanted[3] = {what.in, what.out, what.err};
  // Out of the way of 0..2 first, so that no dup2 overwrites one that is still needed.
  for (int& fd : wanted) {
    fd = fd < 0 ? open("/dev/null", O_RDWR) : dup(fd);
    if (fd >= 0 && fd < 3) fd = fcntl(fd, F_DUPFD, 3);
    if (fd < 0) _exit(126);
  }
  for (int i = 0; i < 3; ++i) {
    if (dup2(wanted[i], i) < 0) _exit(126);
  }
  syscall(SYS_close_range, 3u, ~0u, 0u);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  struct sigaction normal{};
  normal.sa_handler = SIG_DFL;
  for (int s = 1; s < 32; ++s) sigaction(s, &normal, nullptr);
  execv(what.argv[0], const_cast<char* const*>(what.argv));
  _exit(127);
}

void kill_children(pid_t spare) {
  Text<64> path;
  path.add("/proc/self/task/").add_number(getpid()).add("/children");
  char text[4096];
  if (read_file(path.c_str(), text, sizeof text) <= 0) return;
  char* p = text;
  for (;;) {
    char* end = nullptr;
    long pid = strtol(p, &end, 10);
    if (end == p || pid <= 0) return;
    if (pid != spare) kill(static_cast<pid_t>(pid), SIGKILL);
    p = end;
  }
}

void add_last_message(TextRef& out, const char* log, size_t n) {
  while (n > 0 && (log[n - 1] == '\n' || log[n - 1] == '\r' || log[n - 1] == ' ')) --n;
  const char* newline = static_cast<const char*>(memrchr(log, '\n', n));
  const char* line = newline != nullptr ? newline + 1 : log;
  size_t length = n - static_cast<size_t>(line - log);
  const char* msg = length > 0 && line[0] == '{' ? strstr(line, "\"msg\":") : nullptr;
  if (msg == nullptr || msg >= line + length) {
    out.add(line, length);
    return;
  }
  msg += 6;
  while (*msg == ' ') ++msg;
  if (*msg++ != '"') return;
  for (; msg < line + length && *msg != '"'; ++msg) {
    if (*msg == '\\' && msg + 1 < line + length) {
      ++msg;
      out.add_char(*msg == 'n' || *msg == 't' ? ' ' : *msg);
    } else {
      out.add_char(*msg);
    }
  }
}

int listen_here(const char* name, int backlog) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, name, sizeof address.sun_path - 1);
  unlink(name);
  mode_t mask = umask(0177);
  int rc = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  umask(mask);
  if (rc != 0 || listen(fd, backlog) != 0) {
    int err = errno;
    close(fd);
    return -err;
  }
  return fd;
}

int receive_fd(int socket) {
  char byte[64];
  iovec iov{byte, sizeof byte};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (n < 0) return -errno;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int))) {
      int fd;
      memcpy(&fd, CMSG_DATA(c), sizeof fd);
      return fd;
    }
  }
  return -EPROTO;
}

int send_fd(int socket, uint8_t type, int fd) {
  char byte[6] = {1, 0, 0, 0, static_cast<char>(type), 0};
  iovec iov{byte, sizeof byte};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

}  // namespace limpet::shim

// A disk with bad days, for LD_PRELOAD: calls that change files below DISK_SHIM_DIRECTORY do what the file
// DISK_SHIM_CONTROL says at that moment.
//   erofs      fail as on a file system that the kernel has made read-only
//   eio        syncs fail
//   stall MS   writes and syncs take that long
//   hang       nothing that changes a file ends as long as this is said
// Anything else, and no file: nothing.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

enum what { CHANGE, WRITE, SYNC };

static int below(const char* path) {
  const char* directory = getenv("DISK_SHIM_DIRECTORY");
  return directory && strncmp(path, directory, strlen(directory)) == 0;
}

static int fd_below(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return below(path);
}

static void sleep_ms(long ms) {
  const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, 0);
}

static void read_control(char* text, size_t size) {
  const char* control = getenv("DISK_SHIM_CONTROL");
  memset(text, 0, size);
  const int fd = control ? (int)REAL(int, "open", const char*, int, ...)(control, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  if (read(fd, text, size - 1) < 0) text[0] = 0;
  close(fd);
}

// 0: go on; else the errno.
static int verdict(enum what what) {
  char text[64];
  read_control(text, sizeof text);
  while (strncmp(text, "hang", 4) == 0) {
    sleep_ms(10);
    read_control(text, sizeof text);
  }
  if (strncmp(text, "erofs", 5) == 0) return EROFS;
  if (strncmp(text, "eio", 3) == 0) return what == SYNC ? EIO : 0;
  if (strncmp(text, "stall ", 6) == 0 && what != CHANGE) sleep_ms(atol(text + 6));
  return 0;
}

#define FAIL_IF(is_below, what)               \
  do {                                        \
    const int error = (is_below) ? verdict(what) : 0; \
    if (error) {                              \
      errno = error;                          \
      return -1;                              \
    }                                         \
  } while (0)

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT; }

#define OPEN(name)                                                                    \
  int name(const char* path, int flags, ...) {                                        \
    va_list list;                                                                     \
    va_start(list, flags);                                                            \
    const mode_t mode = (mode_t)va_arg(list, int);                                    \
    va_end(list);                                                                     \
    FAIL_IF(changes(flags) && below(path), CHANGE);                                   \
    return REAL(int, #name, const char*, int, ...)(path, flags, mode);                \
  }
OPEN(open)
OPEN(open64)

int mkostemp(char* path, int flags) {
  FAIL_IF(below(path), CHANGE);
  return REAL(int, "mkostemp", char*, int)(path, flags);
}
int mkostemp64(char* path, int flags) {
  FAIL_IF(below(path), CHANGE);
  return REAL(int, "mkostemp64", char*, int)(path, flags);
}
int rename(const char* from, const char* to) {
  FAIL_IF(below(to), CHANGE);
  return REAL(int, "rename", const char*, const char*)(from, to);
}
int unlink(const char* path) {
  FAIL_IF(below(path), CHANGE);
  return REAL(int, "unlink", const char*)(path);
}
int mkdir(const char* path, mode_t mode) {
  struct stat st;
  FAIL_IF(below(path) && stat(path, &st) != 0, CHANGE);
  return REAL(int, "mkdir", const char*, mode_t)(path, mode);
}
int ftruncate(int fd, off_t size) {
  FAIL_IF(fd_below(fd), CHANGE);
  return REAL(int, "ftruncate", int, off_t)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
  FAIL_IF(fd_below(fd), CHANGE);
  return REAL(int, "ftruncate64", int, off64_t)(fd, size);
}
int fsync(int fd) {
  FAIL_IF(fd_below(fd), SYNC);
  return REAL(int, "fsync", int)(fd);
}
int fdatasync(int fd) {
  FAIL_IF(fd_below(fd), SYNC);
  return REAL(int, "fdatasync", int)(fd);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  FAIL_IF(fd_below(fd), WRITE);
  return REAL(ssize_t, "pwrite", int, const void*, size_t, off_t)(fd, bytes, size, at);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  FAIL_IF(fd_below(fd), WRITE);
  return REAL(ssize_t, "pwrite64", int, const void*, size_t, off64_t)(fd, bytes, size, at);
}

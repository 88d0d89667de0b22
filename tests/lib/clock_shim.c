// LD_PRELOAD for a daemon under test: a machine whose clock can be set without setting that of the host.
//
// CLOCK_OFFSET_FILE holds the seconds by which CLOCK_REALTIME is off. CLOCK_SET_FIFO is what the kernel's timerfd is
// when the clock is set: a timer on CLOCK_REALTIME with TFD_TIMER_CANCEL_ON_SET becomes readable when a byte is written
// to it, and read() fails with ECANCELED, as timerfd_create(2) has it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int set_fifo = -1;

int clock_gettime(clockid_t clock, struct timespec* t) {
  const int result = (int)syscall(SYS_clock_gettime, clock, t);
  const char* path = clock == CLOCK_REALTIME && result == 0 ? getenv("CLOCK_OFFSET_FILE") : NULL;
  const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return result;
  char text[32] = {0};
  if (syscall(SYS_read, fd, text, sizeof text - 1) > 0) t->tv_sec += atoll(text);
  close(fd);
  return result;
}

int timerfd_create(int clock, int flags) {
  const char* path = clock == CLOCK_REALTIME ? getenv("CLOCK_SET_FIFO") : NULL;
  if (!path) return (int)syscall(SYS_timerfd_create, clock, flags);
  set_fifo = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  return set_fifo;
}

int timerfd_settime(int fd, int flags, const struct itimerspec* to, struct itimerspec* before) {
  if (fd != set_fifo) return (int)syscall(SYS_timerfd_settime, fd, flags, to, before);
  if (flags == (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) return 0;
  errno = EINVAL;
  return -1;
}

ssize_t read(int fd, void* buffer, size_t size) {
  const ssize_t n = syscall(SYS_read, fd, buffer, size);
  if (fd < 0 || fd != set_fifo || n <= 0) return n;
  errno = ECANCELED;
  return -1;
}

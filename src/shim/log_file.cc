#include "shim/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shim/text.h"

namespace limpet::shim {
namespace {

constexpr int batch_lines = 32;

int64_t monotonic_seconds() {
  timespec ts{};
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return ts.tv_sec;
}

}  // namespace

void LogFile::open(const char* path, int64_t max_bytes, int max_files) {
  path_ = path;
  max_bytes_ = max_bytes;
  max_files_ = max_files < 1 ? 1 : max_files;
  if (path_[0] != 0) ensure_open();  // a log that is still empty can be followed already
}

void LogFile::reopen() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  retry_at_ = 0;
}

bool LogFile::ensure_open() {
  if (fd_ >= 0) return true;
  int64_t now = monotonic_seconds();
  if (now < retry_at_) return false;
  fd_ = ::open(path_, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0640);
  struct stat st{};
  if (fd_ < 0 || fstat(fd_, &st) != 0 || !S_ISREG(st.st_mode)) {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    retry_at_ = now + 1;
    return false;
  }
  size_ = st.st_size;
  return true;
}

void LogFile::rotate() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  torn_ = false;
  Text<4200> from, to;
  for (int i = max_files_ - 1; i >= 1; --i) {
    to.clear();
    to.add(path_).add_char('.').add_number(i);
    from.clear();
    from.add(path_);
    if (i > 1) from.add_char('.').add_number(i - 1);
    if (!from.cut() && !to.cut()) rename(from.c_str(), to.c_str());
  }
  if (max_files_ == 1) unlink(path_);
}

void LogFile::flush(iovec* iov, int count, size_t bytes) {
  if (max_bytes_ > 0 && fd_ >= 0 && size_ > 0 && size_ + static_cast<int64_t>(bytes) > max_bytes_) rotate();
  if (!ensure_open()) {
    dropped_ += bytes;
    return;
  }
  if (torn_) {
    // A line that found no room ends here, so that the next one can be read.
    if (write(fd_, "\n", 1) != 1) {
      dropped_ += bytes;
      return;
    }
    torn_ = false;
    ++size_;
  }
  ssize_t n;
  do {
    n = writev(fd_, iov, count);
  } while (n < 0 && errno == EINTR);
  size_t written = n < 0 ? 0 : static_cast<size_t>(n);
  size_ += static_cast<int64_t>(written);
  if (written < bytes) {
    dropped_ += bytes - written;
    torn_ = written > 0;
  }
}

void LogFile::write_lines(bool is_stderr, const char* data, size_t n) {
  if (path_[0] == 0 || n == 0) return;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  Text<64> whole, part;
  whole.add_time(now.tv_sec, static_cast<uint32_t>(now.tv_nsec)).add(is_stderr ? " stderr F " : " stdout F ");
  part.add_time(now.tv_sec, static_cast<uint32_t>(now.tv_nsec)).add(is_stderr ? " stderr P " : " stdout P ");
  iovec iov[batch_lines * 2 + 1];
  char newline = '\n';
  while (n > 0) {
    int count = 0;
    size_t bytes = 0;
    while (n > 0 && count < batch_lines * 2) {
      const char* end = static_cast<const char*>(memchr(data, '\n', n));
      size_t length = end != nullptr ? static_cast<size_t>(end - data) + 1 : n;
      TextRef& prefix = end != nullptr ? static_cast<TextRef&>(whole) : part;
      iov[count++] = {const_cast<char*>(prefix.data()), prefix.size()};
      iov[count++] = {const_cast<char*>(data), length};
      bytes += prefix.size() + length;
      data += length;
      n -= length;
      if (end == nullptr) {
        iov[count++] = {&newline, 1};
        ++bytes;
      }
    }
    flush(iov, count, bytes);
  }
}

void LineBuffer::commit(size_t n, LogFile& log) {
  used_ += n;
  const char* last = static_cast<const char*>(memrchr(data_, '\n', used_));
  size_t whole = last != nullptr ? static_cast<size_t>(last - data_) + 1 : 0;
  if (whole == 0 && used_ == capacity) whole = used_;
  if (whole == 0) return;
  log.write_lines(is_stderr_, data_, whole);
  memmove(data_, data_ + whole, used_ - whole);
  used_ -= whole;
}

void LineBuffer::finish(LogFile& log) {
  // The last line of a stream lacks its newline: it is all there will be, so it counts as whole.
  if (used_ == 0) return;
  if (used_ < capacity) data_[used_++] = '\n';
  log.write_lines(is_stderr_, data_, used_);
  used_ = 0;
}

}  // namespace limpet::shim

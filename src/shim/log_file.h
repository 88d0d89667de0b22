// The log of one container in CRI format, with rotation: PATH, PATH.1 (newest) ... PATH.(max_files - 1).
//
// A line longer than 16 KB is written in parts (tag P). Writing never blocks the container for long and never
// fails loudly: what finds no room is counted. Format: Kubernetes "CRI logging".
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/uio.h>

namespace limpet::shim {

class LogFile {
 public:
  // path "" keeps no log. The string must outlive the object.
  void open(const char* path, int64_t max_bytes, int max_files);
  void reopen();  // after someone else moved the file away
  uint64_t dropped_bytes() const { return dropped_; }

  // Writes n bytes of which every line ends in '\n'; the last may lack it: `partial` makes it a P line.
  void write_lines(bool is_stderr, const char* data, size_t n);

 private:
  void rotate();
  bool ensure_open();
  void flush(iovec* iov, int count, size_t bytes);

  const char* path_ = "";
  int64_t max_bytes_ = 0;
  int max_files_ = 1;
  int fd_ = -1;
  int64_t size_ = 0;
  uint64_t dropped_ = 0;
  int64_t retry_at_ = 0;  // seconds, monotonic: when opening failed
  bool torn_ = false;     // the last write stopped in the middle of a line
};

// Collects one stream's bytes until a line is whole. One page per 4 KB that a line really needs.
class LineBuffer {
 public:
  static constexpr size_t capacity = 16 * 1024;
  explicit LineBuffer(bool is_stderr) : is_stderr_(is_stderr) {}
  char* room() { return data_ + used_; }
  size_t room_size() const { return capacity - used_; }
  // After n bytes were put into room(): writes what is whole, keeps the rest.
  void commit(size_t n, LogFile& log);
  void finish(LogFile& log);  // at the end of the stream

 private:
  bool is_stderr_;
  size_t used_ = 0;
  char data_[capacity];
};

}  // namespace limpet::shim

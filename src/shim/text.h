// Text in a fixed buffer: what limpet-shim has instead of std::string and stdio. What does not fit is cut off
// and `cut()` tells; nothing is ever written beyond the buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace limpet::shim {

class TextRef {
 public:
  TextRef(char* buffer, size_t capacity) : data_(buffer), capacity_(capacity) { data_[0] = 0; }

  const char* c_str() const { return data_; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  bool cut() const { return cut_; }
  void clear() {
    size_ = 0;
    cut_ = false;
    data_[0] = 0;
  }

  TextRef& add(const char* s, size_t n) {
    if (n > capacity_ - 1 - size_) {
      n = capacity_ - 1 - size_;
      cut_ = true;
    }
    memcpy(data_ + size_, s, n);
    size_ += n;
    data_[size_] = 0;
    return *this;
  }
  TextRef& add(const char* s) { return add(s, strlen(s)); }
  TextRef& add_char(char c) { return add(&c, 1); }
  TextRef& add_number(int64_t value);
  TextRef& add_padded(uint32_t value, int digits);
  // A JSON string with quotes; control bytes and bytes that are no UTF-8 come out as '?'.
  TextRef& add_json(const char* s, size_t n);
  TextRef& add_json(const char* s) { return add_json(s, strlen(s)); }
  // 2026-11-22T18:49:52.123456789Z
  TextRef& add_time(int64_t seconds, uint32_t nanos);

 private:
  char* data_;
  size_t capacity_;
  size_t size_ = 0;
  bool cut_ = false;
};

template <size_t N>
class Text : public TextRef {
 public:
  Text() : TextRef(buffer_, N) {}
  Text(const Text&) = delete;

 private:
  char buffer_[N];
};

}  // namespace limpet::shim

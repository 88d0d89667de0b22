#include "shim/client.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/sys.h"

namespace limpet::shim {

Client* Client::make(int fd) {
  void* memory = mmap(nullptr, sizeof(Client), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    close(fd);
    return nullptr;
  }
  // The pages are zero, and zero is the initial state of every member but the descriptor.
  Client* client = static_cast<Client*>(memory);
  client->fd_ = fd;
  client->last_progress_ms = monotonic_ms();
  return client;
}

void Client::destroy() {
  close(fd_);
  munmap(this, sizeof(Client));
}

bool Client::fill() {
  ssize_t n = read(fd_, in_ + in_used_, sizeof in_ - in_used_);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return sizeof in_ == in_used_;
  in_used_ += static_cast<size_t>(n);
  if (in_used_ < wire::header_bytes) return true;
  uint32_t size;
  memcpy(&size, in_, sizeof size);
  return size <= wire::max_request_bytes;
}

bool Client::next(uint8_t* type, const char** payload, size_t* size) {
  if (in_used_ < wire::header_bytes) return false;
  uint32_t n;
  memcpy(&n, in_, sizeof n);
  if (n > wire::max_request_bytes || in_used_ < wire::header_bytes + n) return false;
  *type = static_cast<uint8_t>(in_[4]);
  *payload = in_ + wire::header_bytes;
  *size = n;
  return true;
}

void Client::drop_request() {
  uint32_t n;
  memcpy(&n, in_, sizeof n);
  size_t whole = wire::header_bytes + n;
  if (whole > in_used_) return;
  memmove(in_, in_ + whole, in_used_ - whole);
  in_used_ -= whole;
}

bool Client::send(uint8_t type, const void* payload, size_t size) {
  if (output_room() < wire::header_bytes + size) return false;
  if (sizeof out_ - out_end_ < wire::header_bytes + size) {
    memmove(out_, out_ + out_start_, out_end_ - out_start_);
    out_end_ -= out_start_;
    out_start_ = 0;
  }
  uint32_t n = static_cast<uint32_t>(size);
  memcpy(out_ + out_end_, &n, sizeof n);
  out_[out_end_ + 4] = static_cast<char>(type);
  if (size > 0) memcpy(out_ + out_end_ + wire::header_bytes, payload, size);
  if (!has_output()) last_progress_ms = monotonic_ms();
  out_end_ += wire::header_bytes + size;
  return true;
}

bool Client::flush() {
  while (has_output()) {
    ssize_t n = ::send(fd_, out_ + out_start_, out_end_ - out_start_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    out_start_ += static_cast<size_t>(n);
    last_progress_ms = monotonic_ms();
  }
  out_start_ = out_end_ = 0;
  return true;
}

}  // namespace limpet::shim

// The service manager's end of sd_notify.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "base/unique_fd.h"

namespace limpet::daemon::test {

class Manager {
 public:
  explicit Manager(const std::string& name) : name_(name) {
    fd_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const size_t size = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '@' ? 0 : 1);
    REQUIRE_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(size)), 0);
  }
  ~Manager() {
    if (name_[0] == '/') unlink(name_.c_str());
  }
  std::string receive() {
    char buffer[1024];
    const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
    return n < 0 ? "(nothing)" : std::string(buffer, static_cast<size_t>(n));
  }
  // Everything that has come, a message after the other.
  std::string all() {
    std::string out;
    for (std::string one = receive(); one != "(nothing)"; one = receive()) out += one + "\n";
    return out;
  }

 private:
  std::string name_;
  UniqueFd fd_;
};

}  // namespace limpet::daemon::test

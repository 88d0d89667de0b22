#include "daemon/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/result.h"

namespace limpet::daemon {
namespace {

int64_t number_of(const char* text) {
  if (!text || !*text) return 0;
  char* end = nullptr;
  const long long value = strtoll(text, &end, 10);
  return *end == '\0' && value > 0 ? value : 0;
}

}  // namespace

Notifier::Notifier(std::string socket, int64_t watchdog_usec)
    : socket_(std::move(socket)), watchdog_usec_(watchdog_usec) {
  if (socket_.size() < 2 || (socket_[0] != '/' && socket_[0] != '@')) socket_.clear();
  if (socket_.size() >= sizeof(sockaddr_un::sun_path)) socket_.clear();
  if (!socket_.empty()) fd_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

Notifier Notifier::from_environment() {
  const char* socket = getenv("NOTIFY_SOCKET");
  int64_t usec = number_of(getenv("WATCHDOG_USEC"));
  const int64_t pid = number_of(getenv("WATCHDOG_PID"));
  if (pid != 0 && pid != getpid()) usec = 0;
  Notifier out(socket ? socket : "", usec);
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
  return out;
}

std::vector<std::string> Notifier::environment() const {
  std::vector<std::string> out;
  if (socket_.empty()) return out;
  out.push_back("NOTIFY_SOCKET=" + socket_);
  if (watchdog_usec_ <= 0) return out;
  out.push_back("WATCHDOG_USEC=" + std::to_string(watchdog_usec_));
  out.push_back("WATCHDOG_PID=" + std::to_string(getpid()));  // which stays
  return out;
}

void Notifier::reloading(int64_t monotonic_usec, std::string_view status) {
  send(strf("RELOADING=1\nMONOTONIC_USEC=%lld\n", static_cast<long long>(monotonic_usec)), status);
}

void Notifier::extend_timeout(int64_t usec) {
  send(strf("EXTEND_TIMEOUT_USEC=%lld\n", static_cast<long long>(usec)), "");
}

// A full socket buffer loses the message rather than block the loop; the next watchdog message makes up for
// it.
void Notifier::send(std::string_view lines, std::string_view status) {
  if (!fd_) return;
  std::string text(lines);
  if (!status.empty()) {
    text += "STATUS=";
    for (char c : status) text += c == '\n' ? ' ' : c;
    text += '\n';
  }
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  memcpy(to.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') to.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size() + (socket_[0] == '/' ? 1 : 0));
  (void)sendto(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
               size);
}

}  // namespace limpet::daemon

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "loop/internal.h"
#include "loop/poll.h"
#include "loop/socket.h"
#include "loop/stream.h"

namespace limpet::loop {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

constexpr size_t max_addresses = 16;

bool parse_literal(std::string_view host, uint16_t port, Address* out) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const std::string text(host);
  auto& v4 = reinterpret_cast<sockaddr_in&>(out->storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out->storage);
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    out->size = sizeof v4;
    return true;
  }
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    out->size = sizeof v6;
    return true;
  }
  return false;
}

std::string text_of(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  const bool four = address.storage.ss_family == AF_INET;
  inet_ntop(address.storage.ss_family, four ? static_cast<const void*>(&v4.sin_addr) : &v6.sin6_addr, text,
            sizeof text);
  return text;
}

struct Resolution {
  std::string host;
  std::string service;
  int error = 0;
  std::vector<Address> addresses;

  void run() {  // on a pool thread
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    error = getaddrinfo(host.c_str(), service.c_str(), &hints, &list);
    if (error != 0) return;
    for (addrinfo* a = list; a != nullptr && addresses.size() < max_addresses; a = a->ai_next) {
      if (a->ai_addrlen > sizeof(sockaddr_storage)) continue;
      Address& address = addresses.emplace_back();
      memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
      address.size = a->ai_addrlen;
    }
    freeaddrinfo(list);
  }
};

}  // namespace

struct Connect::Impl {
  Impl(Loop& l, std::string n, int64_t timeout, Done d)
      : loop(l),
        name(std::move(n)),
        deadline_ms(l.now_ms() + timeout),
        done(std::move(d)),
        timer(l, "connect") {}

  Loop& loop;
  std::string name;  // for errors
  Reach reach = Reach::anywhere;
  int64_t deadline_ms;
  Done done;
  Timer timer;
  Work resolve;
  std::vector<Address> addresses;
  size_t next = 0;
  UniqueFd fd;
  std::unique_ptr<Poll> poll;
  Error last{Errc::timeout, "timed out", ETIMEDOUT};

  // Reports once. The owner may destroy the Connect, and so this, from inside the callback.
  void finish(Result<std::unique_ptr<Stream>> result) {
    poll.reset();
    fd.reset();
    timer.stop();
    resolve.forget();
    if (Done f = std::exchange(done, nullptr)) f(std::move(result));
  }

  void finish_failed() { finish(std::unexpected(std::move(last).with("connect to " + name))); }

  void expire() {
    last = {Errc::timeout, "timed out", ETIMEDOUT};
    if (addresses.empty() || next >= addresses.size() || loop.now_ms() >= deadline_ms) return finish_failed();
    attempt();
  }

  void start_resolving(const std::string& host, uint16_t port) {
    auto resolution = std::make_shared<Resolution>();
    resolution->host = host;
    resolution->service = std::to_string(port);
    timer.start(deadline_ms - loop.now_ms(), [this] { expire(); });
    resolve.start(
        loop, [resolution] { resolution->run(); },
        [this, resolution] {
          if (resolution->error != 0 || resolution->addresses.empty()) {
            const Errc code = resolution->error == EAI_NONAME ? Errc::not_found : Errc::unavailable;
            last = {code, resolution->error != 0 ? gai_strerror(resolution->error) : "no address", 0};
            return finish_failed();
          }
          addresses = std::move(resolution->addresses);
          if (leave_out()) attempt();
        });
  }

  // What a name resolves to counts, and nothing is looked up again after this look. False: reported, none is
  // left.
  bool leave_out() {
    std::erase_if(addresses, [this](const Address& a) {
      const Place place = place_of(reinterpret_cast<const sockaddr&>(a.storage));
      if (within(reach, place)) return false;
      last = {Errc::permission_denied,
              strf("%s is an address of %s, which is refused", text_of(a).c_str(), place_name(place)), 0};
      return true;
    });
    if (addresses.empty()) finish_failed();
    return !addresses.empty();
  }

  // Tries the next address; each gets its share of what is left, so that a dead first one does not eat it
  // all.
  void attempt() {
    while (next < addresses.size()) {
      const Address& address = addresses[next++];
      const int64_t left = std::max<int64_t>(deadline_ms - loop.now_ms(), 1);
      const int64_t share = std::max<int64_t>(left / static_cast<int64_t>(addresses.size() - next + 1), 1);
      poll.reset();
      fd.reset(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!fd) {
        last = fail_errno(errno, "socket").error();
        continue;
      }
      if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0)
        return connected();
      if (errno != EINPROGRESS) {
        last = fail_errno(errno, "connect").error();
        continue;
      }
      auto made = Poll::make(loop, fd.get());
      if (!made) {
        last = std::move(made).error();
        continue;
      }
      poll = std::move(*made);
      poll->start(false, true, [this](PollEvents) { settled(); });
      timer.start(share, [this] { expire(); });
      return;
    }
    finish_failed();
  }

  void settled() {
    int err = 0;
    socklen_t size = sizeof err;
    if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &err, &size) != 0) err = errno;
    if (err == 0) return connected();
    last = fail_errno(err, "connect").error();
    attempt();
  }

  void connected() {
    poll.reset();
    tune_tcp(fd.get());
    finish(adopt_stream(loop, std::move(fd)));
  }
};

Connect::~Connect() { cancel(); }

void Connect::cancel() {
  if (!impl_) return;
  auto impl = std::move(impl_);
  impl->done = nullptr;
  impl->poll.reset();
  impl->timer.stop();
  impl->resolve.forget();
  // A callback of the Impl may be on the stack: it goes when that has returned.
  Loop& loop = impl->loop;
  loop.defer([impl = std::move(impl)] {});
}

bool Connect::busy() const { return impl_ && impl_->done; }

void Connect::tcp(Loop& loop, const std::string& host, uint16_t port, int64_t timeout_ms, Done done,
                  Reach reach) {
  cancel();
  impl_ = std::make_shared<Impl>(loop, strf("%s port %u", host.c_str(), port), timeout_ms, std::move(done));
  impl_->reach = reach;
  Address literal;
  if (!parse_literal(host, port, &literal)) return impl_->start_resolving(host, port);
  impl_->addresses.push_back(literal);
  // Deferred, so that the callback never comes from inside this call.
  loop.defer([weak = std::weak_ptr(impl_)] {
    if (const auto impl = weak.lock(); impl && impl->done && impl->leave_out()) impl->attempt();
  });
}

void Connect::unix_socket(Loop& loop, const std::string& path, int64_t timeout_ms, Done done) {
  cancel();
  impl_ = std::make_shared<Impl>(loop, path, timeout_ms, std::move(done));
  loop.defer([weak = std::weak_ptr(impl_), path] {
    const auto impl = weak.lock();
    if (!impl || !impl->done) return;
    auto address = unix_address(path);
    if (!address) return impl->finish(std::unexpected(std::move(address).error()));
    Address& a = impl->addresses.emplace_back();
    memcpy(&a.storage, &*address, sizeof *address);
    a.size = sizeof *address;
    impl->attempt();
  });
}

}  // namespace limpet::loop

// A bidirectional byte stream on the loop: TCP, unix socket, pipe, and TLS over any of them (src/tls).
//
// Owned by whoever made or accepted it. Destroying it closes at once (unsent bytes are dropped), also from
// inside its own callbacks; after the destructor returns no callback is made. Reads are pushed while reading
// is on; writes are queued whole and in order. write() never calls back: errors and on_drain come on a later
// turn. The queue is as long as its users let it grow: they watch write_queue_size().
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop.h"
#include "loop/place.h"

namespace limpet::loop {

class Stream {
 public:
  struct Events {
    std::function<void(std::string_view bytes)> on_read;  // bytes are valid during the call only
    std::function<void()> on_eof;                         // the peer will send no more; writing may go on
    std::function<void(Error)> on_error;  // the stream is dead; at most once, nothing after it
    // The write queue became empty after a write() that could not be handed to the kernel at once: not called
    // when write_queue_size() is 0 right after the write.
    std::function<void()> on_drain;
  };
  virtual ~Stream() = default;
  virtual void set_events(Events events) = 0;
  virtual void read_start() = 0;
  virtual void read_stop() = 0;  // back-pressure: the kernel's buffer fills, the peer slows
  virtual void write(std::string bytes) = 0;
  virtual void shutdown() = 0;                  // after the queued bytes: FIN (and TLS close_notify)
  virtual size_t write_queue_size() const = 0;  // bytes accepted and not yet handed to the kernel
  virtual std::string peer()
      const = 0;  // "192.0.2.1:4711", "[2001:db8::1]:4711", "unix:pid=12,uid=0", for logs
  virtual int fd() const {
    return -1;
  }  // for what concerns the socket, never for bytes; -1 where there is none (in-memory streams)
};

// Takes the stream over and ends it politely: queued bytes, FIN, then reads and discards until the peer
// closes or the limit is over (peer_done: it did already). Closing with unread input would make the kernel
// send a reset that may destroy our last words.
void close_gently(Loop& loop, std::unique_ptr<Stream> stream, int64_t limit_ms, bool peer_done = false);

// When a silent TCP connection is asked whether its peer is still there, and when it is given up: a peer that
// lost power or its route says nothing. What was sent and is not acknowledged gets the same time in all.
struct KeepAlive {
  int idle_s = 120, interval_s = 20, count = 3;  // three minutes, at little cost on a metered link
  int limit_s() const { return idle_s + interval_s * count; }
};
// Every TCP stream has the defaults above until this changes them. No effect on other streams.
void set_keep_alive(const Stream& stream, const KeepAlive& keep);

// Whether the other side has closed and everything that it sent was read: for who does not read now and would
// not hear of it. False where nobody can say.
bool peer_has_closed(const Stream& stream);

// Who is on the other side of a unix socket (SO_PEERCRED). pid -1 on other streams.
struct PeerCredentials {
  int pid = -1;
  uint32_t uid = ~0u;
  uint32_t gid = ~0u;
};

// A stream over a connected socket, pipe or pty descriptor, which it takes over and makes non-blocking.
// Hang-up of a pty counts as end of file. Shutting down the write end of a pipe closes it.
Result<std::unique_ptr<Stream>> adopt_stream(Loop& loop, UniqueFd fd);
// Two connected streams in one process (a socketpair), for tests and in-process wiring.
Result<std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>>> stream_pair(Loop& loop);
Result<PeerCredentials> peer_credentials(const Stream& stream);

// Connects; the callback comes exactly once unless the Connect object is destroyed first. Name resolution
// runs on the pool; every address is tried in turn within timeout_ms.
class Connect {
 public:
  using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;
  Connect() = default;
  ~Connect();
  Connect(const Connect&) = delete;
  // host is an address or a name; an IPv6 address may stand in brackets. Of the addresses of a name those
  // beyond `reach` are passed over; with none left it is permission_denied.
  void tcp(Loop& loop, const std::string& host, uint16_t port, int64_t timeout_ms, Done done,
           Reach reach = Reach::anywhere);
  void unix_socket(Loop& loop, const std::string& path, int64_t timeout_ms, Done done);
  bool busy() const;
  void cancel();  // as destruction

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// A listening socket. accept errors of exhaustion (EMFILE) pause accepting for a moment, then go on.
class Listener {
 public:
  using OnConnection = std::function<void(std::unique_ptr<Stream>)>;
  // TCP on "0.0.0.0", "::", or one address; port 0 picks one.
  static Result<std::unique_ptr<Listener>> tcp(Loop& loop, const std::string& address, uint16_t port,
                                               OnConnection f);
  // Makes the socket file with the mode given, replacing a stale one nobody listens on; already_exists when
  // somebody does. The file is removed with the Listener. Its group is the owner's to set (chown).
  static Result<std::unique_ptr<Listener>> unix_socket(Loop& loop, const std::string& path, uint32_t mode,
                                                       OnConnection f);
  // A socket that already listens (socket activation, tests).
  static Result<std::unique_ptr<Listener>> adopt(Loop& loop, UniqueFd fd, OnConnection f);
  virtual ~Listener() = default;
  virtual uint16_t port() const = 0;  // 0 for unix sockets
  // While paused, connections wait in the kernel's bounded backlog.
  virtual void pause(bool paused) = 0;
};

}  // namespace limpet::loop

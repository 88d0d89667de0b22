// TLS over any loop::Stream, by mbedTLS 2.28 (TLS 1.2) or 3.6 (TLS 1.2 and 1.3).
//
//   tls::Engine engine(loop, clock);                       one per daemon, outlives everything below
//   auto context = tls::ServerContext::make(engine, {...});
//   auto handshake = tls::wrap_server(**context, std::move(tcp), [](Result<std::unique_ptr<tls::Stream>> s)
//   {...});
//
// A handshake costs milliseconds of CPU: its steps run on the pool, at most two at once, first those of
// contexts marked urgent, of these first what has begun; the queue is bounded and each handshake has a
// deadline. After it a tls::Stream lives on the loop. A connection keeps the configuration it began with,
// whatever its context is replaced by.
//
// Anybody on the network can connect and say nothing, or say little and stop. So a client's connection costs
// a TLS session (36 KB) from its first bytes on and not before, the sessions in the handshake are counted,
// and so are the connections without one.
//
// Who is believed: certificates are checked against the Clock given here, never the system's time alone, so
// that a board without a battery-backed clock can still speak; a client always checks the name or address of
// its peer. Sources: RFC 5246, 8446, 5280, 6125, 7301.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "loop/loop.h"
#include "loop/stream.h"

namespace limpet::tls {

// A connection after its handshake. on_eof means a proper close_notify; a connection cut without one is an
// error.
class Stream : public loop::Stream {
 public:
  // DER of the peer's verified certificate; empty when it sent none (or, on an insecure client, anything).
  virtual const std::string& peer_certificate() const = 0;
  virtual std::string_view protocol() const = 0;  // "TLSv1.2", "TLSv1.3"
  virtual std::string_view alpn() const = 0;      // "http/1.1" or ""
  virtual bool resumed() const = 0;
};

struct Stats {
  int64_t connections = 0;       // with a TLS session: handshaking or established
  int64_t connection_bytes = 0;  // memory they hold, estimated from the record buffers
  int64_t handshakes_ok = 0;
  int64_t handshakes_failed = 0;
  int64_t handshakes_resumed = 0;
  int64_t handshakes_refused = 0;  // the queue was full, or a silent connection gave way to a newer one
  int64_t handshakes_waiting = 0;
  int64_t handshakes_silent = 0;  // connections to servers on which nothing came yet
  int64_t server_handshakes = 0;  // connections to servers in the handshake, silent ones included
};

// Runs handshakes. Owned by main, used on the loop's thread; must outlive the contexts, handshakes and
// streams.
class Engine {
 public:
  struct Limits {
    size_t max_waiting = 128;      // handshakes begun and waiting for the pool
    size_t max_open = 256;         // connections to servers in the handshake, silent ones included
    size_t max_sessions = 32;      // those of them that have a TLS session; the others wait for one
    int64_t deadline_ms = 10'000;  // from wrap_*() to the callback
    int64_t silence_ms = 5'000;    // that a client may keep a server waiting, at first or between its flights
    int64_t yield_ms = 1'000;      // the same, when others wait for its session
  };
  Engine(loop::Loop& loop, Clock& clock);
  Engine(loop::Loop& loop, Clock& clock, Limits limits);
  ~Engine();
  Engine(const Engine&) = delete;
  Stats stats() const;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct ServerOptions {
  std::string certificate_pem;  // leaf first, then what clients need beyond it
  std::string key_pem;
  // Clients may send a certificate; one that was not issued by these fails the handshake. Empty: not asked
  // for.
  std::string client_ca_pem;
  bool alpn_http1 = true;
  bool urgent = false;  // handshakes overtake those of other contexts (peers before API clients)
  // In place of the engine's limits, of handshakes that have begun. 0: those.
  int64_t deadline_ms = 0, silence_ms = 0;
};

class ServerContext {
 public:
  static Result<std::unique_ptr<ServerContext>> make(Engine& engine, const ServerOptions& options);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  // New certificate, key and CAs for handshakes from now on; on an error the old ones stay.
  Result<> replace(const ServerOptions& options);

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit ServerContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct ClientOptions {
  // Trust, exactly one of: these authorities; the system's bundle; a chain that holds a certificate with this
  // public key (SHA-256 of its SubjectPublicKeyInfo in hex, as kubeadm's discovery hash), when all that is
  // known is a join token.
  std::string ca_pem;
  bool system_roots = false;
  std::string ca_pin;
  // What the authorities are called in error texts: "certificate of 10.0.0.5 is not signed by the cluster
  // CA".
  std::string authority = "the cluster CA";
  std::string certificate_pem;  // the client's own, optional
  std::string key_pem;
  bool alpn_http1 = true;
  bool urgent = false;
  int64_t deadline_ms = 0;  // in place of the engine's; 0: that
};

class ClientContext {
 public:
  static Result<std::unique_ptr<ClientContext>> make(Engine& engine, const ClientOptions& options);
  // Encrypts and believes anyone: only for registries that the configuration calls insecure.
  static Result<std::unique_ptr<ClientContext>> make_insecure(Engine& engine);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  Result<> replace(const ClientOptions& options);

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit ClientContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A handshake under way. Destroying it closes the connection and no callback is made; also from its own
// callback.
class Handshake {
 public:
  virtual ~Handshake() = default;
};
// Called once, never from inside wrap_*(). Errors name the peer and say what was wrong with it.
using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;

[[nodiscard]] std::unique_ptr<Handshake> wrap_server(ServerContext& context,
                                                     std::unique_ptr<loop::Stream> stream, Done done);
// server_name is the host name or IP address that the certificate must be for.
[[nodiscard]] std::unique_ptr<Handshake> wrap_client(ClientContext& context,
                                                     std::unique_ptr<loop::Stream> stream,
                                                     const std::string& server_name, Done done);

}  // namespace limpet::tls

// One TLS configuration: built once, then shared by the sessions that began with it. Internal.
//
// Pool threads read it while they run handshake steps. What mbedTLS fills lazily inside (tables of curve
// points in keys and authorities) is filled when the configuration is built, so that two steps may run at
// once; where that cannot be (the system's bundle, read at the first handshake), max_parallel is 1.
#pragma once

#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tls/tls.h"

namespace limpet::tls {

enum class Trust { clients, authorities, system, pin, anyone };

// Sessions of past connections by server name, for resumption. Touched on the loop's thread only.
class SessionCache {
 public:
  ~SessionCache();
  const mbedtls_ssl_session* find(const std::string& name) const;
  void keep(const std::string& name, const mbedtls_ssl_context& ssl);
  void forget(const std::string& name);

 private:
  struct Entry;
  std::vector<std::unique_ptr<Entry>> entries_;  // the oldest first
};

struct Config {
  Config();
  ~Config();
  Config(const Config&) = delete;
  static Result<std::shared_ptr<Config>> server(const ServerOptions& options);
  static Result<std::shared_ptr<Config>> client(const ClientOptions& options);
  static Result<std::shared_ptr<Config>> insecure_client();
  // On a pool thread, before a step: reads the system's bundle when it is wanted and not there yet.
  Result<> load_system_roots();

  mbedtls_ssl_config ssl;
  mbedtls_x509_crt own;
  mbedtls_x509_crt authorities;
  mbedtls_pk_context key;
  mbedtls_ssl_ticket_context tickets;
  bool is_server = false;
  Trust trust = Trust::anyone;
  std::string authority;  // what the authorities are called
  std::string pin;
  bool urgent = false;
  int64_t deadline_ms = 0, silence_ms = 0;  // in place of the engine's; 0: those
  bool roots_loaded = false;
  int max_parallel = 2;
  int running = 0;  // steps on the pool now; counted on the loop's thread
  SessionCache sessions;

 private:
  Result<> defaults(int endpoint, bool alpn_http1);
  Result<> own_certificate(const std::string& certificate_pem, const std::string& key_pem);
  Result<> add_authorities(const std::string& pem);
  Result<> warm_up();
};

// Set around a handshake step: a ticket was accepted in it.
extern thread_local bool* ticket_accepted;

}  // namespace limpet::tls

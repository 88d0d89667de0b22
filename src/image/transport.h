// The way to registries: which addresses to try for an image, over which proxy, trusting whom, as which user.
//
// One Transport per daemon, on the loop's thread; it outlives the fetches made with it. It opens nothing
// before the first fetch.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "http/client.h"
#include "image/auth.h"
#include "image/reference.h"
#include "image/traffic.h"
#include "loop/loop.h"
#include "tls/tls.h"

namespace limpet::image {

struct TransportOptions {
  std::map<std::string, std::vector<std::string>> mirrors;  // registry -> base URLs, tried in order before it
  std::vector<std::string> insecure;                        // "host" or "host:port"
  std::string docker_config;                                // text of a config.json
  std::string ca_pem;                                       // empty: the system's authorities
  std::string http_proxy, https_proxy;                      // URLs
  std::vector<std::string> no_proxy;                        // hosts, ".domain", "a.b.c.d/n", "*"
  int64_t mirror_patience_ms = 10'000;                      // from the request to a mirror to its first byte
};

// Whether a host is reached without the proxy, by no_proxy and because loopback always is.
bool reached_directly(const std::vector<std::string>& no_proxy, const std::string& host);
// Loopback registries speak plain HTTP as often as not; like Docker we let them.
bool is_loopback(const std::string& host);

// One way to ask for the contents of one repository. Shared by the fetches of a pull, so that a token is
// got once.
struct Session {
  http::Origin origin;
  std::string prefix;      // of the path, before /v2; empty or "/x"
  std::string repository;  // "library/busybox"
  std::string ns;          // mirrors: the registry they stand in for
  bool primary = true;     // the registry itself, whose word is final
  bool insecure = false;   // tokens may be fetched over plain HTTP
  std::optional<Credential> credential;
  std::string authorization;  // header value, once known

  // The path and query of e.g. "manifests/latest".
  std::string target(const std::string& what) const;
};
using SessionPtr = std::shared_ptr<Session>;

class Transport {
 public:
  Transport(loop::Loop& loop, Clock& clock, tls::Engine* engine);  // without an engine: no https
  ~Transport();
  Transport(const Transport&) = delete;
  // Takes over new options for fetches from now on.
  Result<> configure(TransportOptions options);

  // In the order to try. Credentials: those of the pod first, then the daemon's; nobody's when none fits.
  std::vector<SessionPtr> sessions(const Reference& image,
                                   const std::vector<std::string>& docker_configs) const;
  http::Client& client_for(const http::Origin& origin);
  // How far asking `to` for a session may go. Hosts that the configuration names (mirrors, insecure
  // registries) are where they are. Another registry may be on the device, as whoever names it may write
  // 127.0.0.1 as well, not on its link; and where it leads, be it to another port of its own name, is on the
  // device only if the registry's name already says that it is there (127.0.0.1, localhost).
  loop::Reach reach(const Session& session, const http::Origin& to) const;
  // This address answered; of the schemes of an insecure registry it is the one to begin with next time.
  void answered(const http::Origin& origin);
  // It did not, after so long. A mirror that cost its time-out is left alone for a while.
  void silent(const Session& session, int64_t waited_ms);
  // Whether to pass over it: a mirror that was silent lately. Never the registry itself.
  bool rests(const Session& session) const;
  std::optional<int64_t> patience_ms(const Session& session) const {
    return session.primary ? std::nullopt : std::optional(options_.mirror_patience_ms);
  }

  // Tokens by realm, scope and user, while they are valid.
  std::string cached_token(const std::string& key);
  void keep_token(const std::string& key, std::string authorization, int64_t lifetime_ms);

  loop::Loop& loop() { return loop_; }
  Clock& clock() { return clock_; }
  Traffic& traffic() { return traffic_; }

 private:
  class TlsDialer;
  struct Token {
    std::string authorization;
    int64_t expires_ms = 0;
  };
  void add_sessions(std::vector<SessionPtr>& out, const Session& base, const Reference& image,
                    const std::vector<std::string>& docker_configs) const;
  bool listed_insecure(const http::Origin& origin) const;
  bool configured(const http::Origin& origin) const;  // by its host, whatever the port
  std::unique_ptr<http::Client> make_client(const std::string& proxy);

  loop::Loop& loop_;
  Clock& clock_;
  tls::Engine* engine_;
  TransportOptions options_;
  std::unique_ptr<TlsDialer> dialer_;
  std::unique_ptr<http::Client> direct_, http_proxied_, https_proxied_;
  std::map<std::string, Token> tokens_;
  std::map<std::string, bool> plain_;  // insecure registries by authority: whether plain HTTP answered
  std::map<std::string, int64_t> resting_until_ms_;  // mirrors by origin; monotonic
  Traffic traffic_;
};

}  // namespace limpet::image

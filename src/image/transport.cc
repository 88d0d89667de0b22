#include "image/transport.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/bytes.h"

namespace limpet::image {
namespace {

constexpr size_t max_tokens = 64;
constexpr size_t max_mirrors = 256;
constexpr int64_t costly_silence_ms = 1000;  // a mirror that refuses at once may be asked again at once
constexpr int64_t mirror_rest_ms = 60'000;

std::string host_part(const std::string& authority) {
  if (authority.starts_with('[')) return authority.substr(1, authority.find(']') - 1);
  return authority.substr(0, authority.find(':'));
}

uint16_t port_part(const std::string& authority, uint16_t otherwise) {
  const size_t close = authority.rfind(']');
  const size_t colon = authority.find(':', close == std::string::npos ? 0 : close);
  if (colon == std::string::npos) return otherwise;
  uint16_t port = otherwise;
  std::from_chars(authority.data() + colon + 1, authority.data() + authority.size(), port);
  return port;
}

bool in_range(const std::string& range, const std::string& host) {
  const size_t slash = range.find('/');
  if (slash == std::string::npos) return false;
  in_addr net{}, address{};
  unsigned bits = 0;
  const auto parsed = std::from_chars(range.data() + slash + 1, range.data() + range.size(), bits);
  if (parsed.ec != std::errc() || bits > 32) return false;
  if (inet_pton(AF_INET, range.substr(0, slash).c_str(), &net) != 1) return false;
  if (inet_pton(AF_INET, host.c_str(), &address) != 1) return false;
  const uint32_t mask = bits == 0 ? 0 : ~0u << (32 - bits);
  return (ntohl(net.s_addr) & mask) == (ntohl(address.s_addr) & mask);
}

}  // namespace

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || in_range("127.0.0.0/8", host);
}

bool reached_directly(const std::vector<std::string>& no_proxy, const std::string& host) {
  if (is_loopback(host)) return true;
  for (const std::string& rule : no_proxy) {
    if (rule == "*" || rule == host || in_range(rule, host)) return true;
    if (rule.empty() || rule == ".") continue;
    const std::string suffix = rule[0] == '.' ? rule : "." + rule;
    if (host.ends_with(suffix)) return true;
  }
  return false;
}

std::string Session::target(const std::string& what) const {
  std::string out = prefix + "/v2/" + repository + "/" + what;
  if (!ns.empty()) out += "?ns=" + http::percent_encode(ns);
  return out;
}

// TCP, and TLS with or without checking the peer, by what the configuration calls insecure.
class Transport::TlsDialer final : public http::PlainDialer {
 public:
  explicit TlsDialer(const Transport& owner) : owner_(owner) {}

  Result<> configure(const TransportOptions& options) {
    if (owner_.engine_ == nullptr) return {};
    tls::ClientOptions trust;
    trust.ca_pem = options.ca_pem;
    trust.system_roots = options.ca_pem.empty();
    trust.authority =
        options.ca_pem.empty() ? "an authority of the system" : "the authorities of registries.caFile";
    TRY(checked_, tls::ClientContext::make(*owner_.engine_, trust));
    TRY(unchecked_, tls::ClientContext::make_insecure(*owner_.engine_));
    return {};
  }

  std::unique_ptr<Dial> secure(loop::Loop& loop, std::unique_ptr<loop::Stream> stream,
                               const http::Origin& origin, Done done) override {
    tls::ClientContext* context = owner_.listed_insecure(origin) ? unchecked_.get() : checked_.get();
    if (context == nullptr) return PlainDialer::secure(loop, std::move(stream), origin, std::move(done));
    auto dial = std::make_unique<Securing>();
    dial->handshake = tls::wrap_client(*context, std::move(stream), origin.host,
                                       [done = std::move(done)](Result<std::unique_ptr<tls::Stream>> result) {
                                         if (!result) return done(std::unexpected(std::move(result).error()));
                                         done(std::unique_ptr<loop::Stream>(std::move(*result)));
                                       });
    return dial;
  }

 private:
  struct Securing final : Dial {
    std::unique_ptr<tls::Handshake> handshake;
  };
  const Transport& owner_;
  std::unique_ptr<tls::ClientContext> checked_, unchecked_;
};

Transport::Transport(loop::Loop& loop, Clock& clock, tls::Engine* engine)
    : loop_(loop), clock_(clock), engine_(engine), dialer_(std::make_unique<TlsDialer>(*this)) {
  direct_ = make_client("");
}

Transport::~Transport() = default;

std::unique_ptr<http::Client> Transport::make_client(const std::string& proxy) {
  http::ClientOptions options;
  std::string url = proxy;
  // User information is for Proxy-Authorization, not part of the address.
  const size_t scheme = url.find("://"), at = url.rfind('@');
  if (scheme != std::string::npos && at != std::string::npos && at > scheme) {
    auto user = http::percent_decode(url.substr(scheme + 3, at - scheme - 3));
    if (user) options.proxy_authorization = "Basic " + base64_encode(*user);
    url.erase(scheme + 3, at - scheme - 2);
  }
  if (auto parsed = http::parse_url(url)) options.proxy = parsed->origin;
  return std::make_unique<http::Client>(loop_, *dialer_, std::move(options));
}

Result<> Transport::configure(TransportOptions options) {
  for (const std::string* proxy : {&options.http_proxy, &options.https_proxy}) {
    if (!proxy->empty() && proxy->find("://") == std::string::npos) {
      return fail(Errc::invalid_argument, "a proxy must be a URL");
    }
  }
  CHECK_OK(dialer_->configure(options));
  options_ = std::move(options);
  http_proxied_ = options_.http_proxy.empty() ? nullptr : make_client(options_.http_proxy);
  https_proxied_ = options_.https_proxy.empty() ? nullptr : make_client(options_.https_proxy);
  tokens_.clear();
  resting_until_ms_.clear();
  return {};
}

http::Client& Transport::client_for(const http::Origin& origin) {
  http::Client* proxied = origin.tls ? https_proxied_.get() : http_proxied_.get();
  if (proxied == nullptr || reached_directly(options_.no_proxy, origin.host)) return *direct_;
  return *proxied;
}

bool Transport::listed_insecure(const http::Origin& origin) const {
  const std::string with_port = strf("%s:%u", origin.host.c_str(), origin.port);
  for (const std::string& entry : options_.insecure) {
    if (entry == origin.host || entry == with_port || entry == origin.authority()) return true;
  }
  return is_loopback(origin.host);
}

bool Transport::configured(const http::Origin& origin) const {
  const auto is_it = [&](const std::string& entry) {
    return entry == origin.host || host_part(entry) == origin.host;
  };
  if (std::any_of(options_.insecure.begin(), options_.insecure.end(), is_it)) return true;
  for (const auto& [registry, bases] : options_.mirrors) {
    for (const std::string& base : bases) {
      if (const auto url = http::parse_url(base); url && url->origin.host == origin.host) return true;
    }
  }
  return false;
}

loop::Reach Transport::reach(const Session& session, const http::Origin& to) const {
  if (configured(to)) return loop::Reach::anywhere;
  // The same name on another port is another place: it may be of the device by then.
  if (to.key() == session.origin.key()) return loop::Reach::off_link;
  switch (loop::place_of(session.origin.host)) {
    case loop::Place::link:  // a configured one: no other is connected to
      return loop::place_of(to.host) == loop::Place::link ? loop::Reach::anywhere : loop::Reach::off_device;
    case loop::Place::device:
      return loop::Reach::off_link;
    case loop::Place::elsewhere:
      break;
  }
  return loop::Reach::off_device;
}

void Transport::answered(const http::Origin& origin) {
  if (!resting_until_ms_.empty()) resting_until_ms_.erase(origin.key());
  if (plain_.size() < 256 && listed_insecure(origin))
    plain_[strf("%s:%u", origin.host.c_str(), origin.port)] = !origin.tls;
}

void Transport::silent(const Session& session, int64_t waited_ms) {
  if (session.primary || waited_ms < costly_silence_ms || resting_until_ms_.size() >= max_mirrors) return;
  resting_until_ms_[session.origin.key()] = clock_.monotonic_ms() + mirror_rest_ms;
}

bool Transport::rests(const Session& session) const {
  if (session.primary) return false;
  const auto it = resting_until_ms_.find(session.origin.key());
  return it != resting_until_ms_.end() && clock_.monotonic_ms() < it->second;
}

void Transport::add_sessions(std::vector<SessionPtr>& out, const Session& base, const Reference& image,
                             const std::vector<std::string>& docker_configs) const {
  std::vector<Credential> known;
  for (const std::string& text : docker_configs) {
    // One bad secret does not take the others' place; validation of Secrets has looked at it already.
    if (auto found = find_credentials(text, image)) known.insert(known.end(), found->begin(), found->end());
  }
  if (auto found = find_credentials(options_.docker_config, image)) {
    known.insert(known.end(), found->begin(), found->end());
  }
  if (known.size() > 8) known.resize(8);
  if (known.empty()) out.push_back(std::make_shared<Session>(base));
  for (const Credential& credential : known) {
    out.push_back(std::make_shared<Session>(base));
    out.back()->credential = credential;
  }
}

std::vector<SessionPtr> Transport::sessions(const Reference& image,
                                            const std::vector<std::string>& docker_configs) const {
  std::vector<SessionPtr> out;
  if (auto mirrors = options_.mirrors.find(image.domain); mirrors != options_.mirrors.end()) {
    for (const std::string& base : mirrors->second) {
      const auto url = http::parse_url(base);
      if (!url) continue;  // the configuration was checked when it was read
      Session session{.origin = url->origin, .repository = image.path, .ns = image.domain, .primary = false};
      session.insecure = !url->origin.tls;
      session.prefix = url->target.substr(0, url->target.find('?'));
      while (session.prefix.ends_with('/')) session.prefix.pop_back();
      if (session.prefix.ends_with("/v2")) session.prefix.resize(session.prefix.size() - 3);
      Reference there = image;
      there.domain = url->origin.authority();
      add_sessions(out, session, there, docker_configs);
    }
  }
  const std::string authority = image.domain == "docker.io" ? "registry-1.docker.io" : image.domain;
  Session session{.origin = {host_part(authority), port_part(authority, 443), true, {}},
                  .repository = image.path};
  session.insecure =
      listed_insecure(session.origin) || listed_insecure({host_part(authority), port_part(authority, 80)});
  if (!session.insecure) {
    add_sessions(out, session, image, docker_configs);
    return out;
  }
  Session plain = session;
  plain.origin = {host_part(authority), port_part(authority, 80), false, {}};
  const auto known = plain_.find(strf("%s:%u", plain.origin.host.c_str(), plain.origin.port));
  const bool plain_first = engine_ == nullptr || (known != plain_.end() && known->second);
  add_sessions(out, plain_first ? plain : session, image, docker_configs);
  if (engine_ != nullptr) add_sessions(out, plain_first ? session : plain, image, docker_configs);
  return out;
}

std::string Transport::cached_token(const std::string& key) {
  const auto it = tokens_.find(key);
  if (it == tokens_.end() || it->second.expires_ms <= clock_.monotonic_ms()) return "";
  return it->second.authorization;
}

void Transport::keep_token(const std::string& key, std::string authorization, int64_t lifetime_ms) {
  if (tokens_.size() >= max_tokens) tokens_.clear();
  tokens_[key] = {std::move(authorization), clock_.monotonic_ms() + lifetime_ms};
}

}  // namespace limpet::image

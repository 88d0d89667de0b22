#include "tls/config.h"

#include <cstdlib>

#include "base/assert.h"
#include "base/atomic_file.h"
#include "base/mbed.h"

namespace limpet::tls {

thread_local bool* ticket_accepted = nullptr;

namespace {

constexpr size_t max_bundle = 4 * 1024 * 1024;
constexpr uint32_t ticket_life_s = 12 * 3600;
constexpr size_t max_cached_sessions = 8;

const char* alpn_protocols[] = {"http/1.1", nullptr};

// AES first where the processor (and this mbedTLS) has instructions for it, else ChaCha20.
#if defined(__x86_64__) || (defined(__aarch64__) && LIMPET_MBED3)
#define LIMPET_ORDERED(chacha, aes) aes, chacha
#else
#define LIMPET_ORDERED(chacha, aes) chacha, aes
#endif

constexpr int ciphersuites[] = {
#if LIMPET_MBED3
    LIMPET_ORDERED(MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_128_GCM_SHA256),
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#endif
    LIMPET_ORDERED(MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                   MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    LIMPET_ORDERED(MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                   MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    0};

int parse_ticket(void* context, mbedtls_ssl_session* session, unsigned char* buf, size_t len) {
  int rc = mbedtls_ssl_ticket_parse(context, session, buf, len);
  if (rc == 0 && ticket_accepted != nullptr) *ticket_accepted = true;
  return rc;
}

// Makes mbedTLS 2.28 compute what it otherwise keeps lazily in a key's group, unguarded.
void touch_public(mbedtls_pk_context* pk) {
#if !LIMPET_MBED3
  if (mbedtls_pk_can_do(pk, MBEDTLS_PK_ECDSA) == 0) return;
  const unsigned char hash[32] = {1, 2, 3};
  const unsigned char signature[] = {0x30, 6, 2, 1, 1, 2, 1, 1};  // r = s = 1: well-formed and wrong
  LIMPET_ASSERT(mbedtls_pk_verify(pk, MBEDTLS_MD_SHA256, hash, sizeof hash, signature, sizeof signature) !=
                0);
#else
  static_cast<void>(pk);
#endif
}

Result<> set_up(int rc, const char* what) {
  if (rc == 0) return {};
  return fail(Errc::invalid_argument, std::string(what) + ": " + mbed_error(rc));
}

}  // namespace

struct SessionCache::Entry {
  std::string name;
  mbedtls_ssl_session session;
  Entry() { mbedtls_ssl_session_init(&session); }
  ~Entry() { mbedtls_ssl_session_free(&session); }
  Entry(const Entry&) = delete;
};

SessionCache::~SessionCache() = default;

const mbedtls_ssl_session* SessionCache::find(const std::string& name) const {
  for (const auto& entry : entries_) {
    if (entry->name == name) return &entry->session;
  }
  return nullptr;
}

void SessionCache::forget(const std::string& name) {
  std::erase_if(entries_, [&](const auto& entry) { return entry->name == name; });
}

void SessionCache::keep(const std::string& name, const mbedtls_ssl_context& ssl) {
  auto entry = std::make_unique<Entry>();
  entry->name = name;
  if (mbedtls_ssl_get_session(&ssl, &entry->session) != 0) return;  // TLS 1.3 before a ticket came
  forget(name);
  if (entries_.size() >= max_cached_sessions) entries_.erase(entries_.begin());
  entries_.push_back(std::move(entry));
}

Config::Config() {
  mbedtls_ssl_config_init(&ssl);
  mbedtls_x509_crt_init(&own);
  mbedtls_x509_crt_init(&authorities);
  mbedtls_pk_init(&key);
  mbedtls_ssl_ticket_init(&tickets);
}

Config::~Config() {
  mbedtls_ssl_config_free(&ssl);
  mbedtls_ssl_ticket_free(&tickets);
  mbedtls_pk_free(&key);
  mbedtls_x509_crt_free(&authorities);
  mbedtls_x509_crt_free(&own);
}

Result<> Config::defaults(int endpoint, bool alpn_http1) {
  is_server = endpoint == MBEDTLS_SSL_IS_SERVER;
  CHECK_OK(set_up(
      mbedtls_ssl_config_defaults(&ssl, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT),
      "TLS defaults"));
  mbedtls_ssl_conf_rng(&ssl, mbed_system_random, nullptr);
  mbedtls_ssl_conf_ciphersuites(&ssl, ciphersuites);
#if LIMPET_MBED3
  mbedtls_ssl_conf_min_tls_version(&ssl, MBEDTLS_SSL_VERSION_TLS1_2);
#ifndef MBEDTLS_THREADING_C
  // TLS 1.3 keeps keys in PSA's global store, which two threads may use only in a build with threading.
  mbedtls_ssl_conf_max_tls_version(&ssl, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
#else
  mbedtls_ssl_conf_min_version(&ssl, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
  if (alpn_http1) CHECK_OK(set_up(mbedtls_ssl_conf_alpn_protocols(&ssl, alpn_protocols), "ALPN"));
  return {};
}

Result<> Config::own_certificate(const std::string& certificate_pem, const std::string& key_pem) {
  CHECK_OK(set_up(mbedtls_x509_crt_parse(&own, bytes_of(certificate_pem), certificate_pem.size() + 1),
                  "certificate"));
#if LIMPET_MBED3
  CHECK_OK(set_up(mbedtls_pk_parse_key(&key, bytes_of(key_pem), key_pem.size() + 1, nullptr, 0,
                                       mbed_system_random, nullptr),
                  "private key"));
  int pair = mbedtls_pk_check_pair(&own.pk, &key, mbed_system_random, nullptr);
#else
  CHECK_OK(
      set_up(mbedtls_pk_parse_key(&key, bytes_of(key_pem), key_pem.size() + 1, nullptr, 0), "private key"));
  int pair = mbedtls_pk_check_pair(&own.pk, &key);
#endif
  if (pair != 0) return fail(Errc::invalid_argument, "the private key does not belong to the certificate");
  return set_up(mbedtls_ssl_conf_own_cert(&ssl, &own, &key), "certificate");
}

Result<> Config::add_authorities(const std::string& pem) {
  CHECK_OK(set_up(mbedtls_x509_crt_parse(&authorities, bytes_of(pem), pem.size() + 1), "CA certificates"));
  mbedtls_ssl_conf_ca_chain(&ssl, &authorities, nullptr);
  return {};
}

Result<> Config::warm_up() {
  for (mbedtls_x509_crt* ca = &authorities; ca != nullptr && ca->raw.p != nullptr; ca = ca->next)
    touch_public(&ca->pk);
#if !LIMPET_MBED3
  if (mbedtls_pk_get_type(&key) == MBEDTLS_PK_NONE) return {};
  const unsigned char hash[32] = {1, 2, 3};
  unsigned char signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
  size_t size = 0;
  CHECK_OK(set_up(mbedtls_pk_sign(&key, MBEDTLS_MD_SHA256, hash, sizeof hash, signature, &size,
                                  mbed_system_random, nullptr),
                  "private key"));
#endif
  return {};
}

Result<std::shared_ptr<Config>> Config::server(const ServerOptions& options) {
  auto c = std::make_shared<Config>();
  CHECK_OK(c->defaults(MBEDTLS_SSL_IS_SERVER, options.alpn_http1));
  CHECK_OK(c->own_certificate(options.certificate_pem, options.key_pem));
  c->trust = Trust::anyone;
  c->authority = "the cluster CA";
  c->urgent = options.urgent;
  c->deadline_ms = options.deadline_ms;
  c->silence_ms = options.silence_ms;
  mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_NONE);
  if (!options.client_ca_pem.empty()) {
    c->trust = Trust::clients;
    CHECK_OK(c->add_authorities(options.client_ca_pem));
    mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_OPTIONAL);
  }
  CHECK_OK(set_up(mbedtls_ssl_ticket_setup(&c->tickets, mbed_system_random, nullptr,
                                           MBEDTLS_CIPHER_AES_256_GCM, ticket_life_s),
                  "session tickets"));
  mbedtls_ssl_conf_session_tickets_cb(&c->ssl, mbedtls_ssl_ticket_write, parse_ticket, &c->tickets);
#if LIMPET_MBED3 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
  // A TLS 1.3 ticket of mbedTLS does not carry the client's certificate: who resumed would be nobody.
  if (c->trust == Trust::clients) mbedtls_ssl_conf_new_session_tickets(&c->ssl, 0);
#endif
  CHECK_OK(c->warm_up());
  return c;
}

Result<std::shared_ptr<Config>> Config::client(const ClientOptions& options) {
  int sources =
      (options.ca_pem.empty() ? 0 : 1) + (options.system_roots ? 1 : 0) + (options.ca_pin.empty() ? 0 : 1);
  if (sources != 1) {
    return fail(Errc::invalid_argument,
                "TLS client: exactly one of CA certificates, system roots and CA pin is needed");
  }
  auto c = std::make_shared<Config>();
  CHECK_OK(c->defaults(MBEDTLS_SSL_IS_CLIENT, options.alpn_http1));
  c->authority = options.authority;
  c->urgent = options.urgent;
  c->deadline_ms = options.deadline_ms;
  mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
  if (!options.ca_pem.empty()) {
    c->trust = Trust::authorities;
    CHECK_OK(c->add_authorities(options.ca_pem));
  } else if (options.system_roots) {
    c->trust = Trust::system;
    c->max_parallel = 1;
  } else {
    c->trust = Trust::pin;
    c->pin = options.ca_pin;
    // The chain is verified right after the handshake, against the pinned authority found in it. mbedTLS
    // leaves that to the caller in TLS 1.2 only.
    mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_OPTIONAL);
#if LIMPET_MBED3
    mbedtls_ssl_conf_max_tls_version(&c->ssl, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
  }
  if (!options.certificate_pem.empty())
    CHECK_OK(c->own_certificate(options.certificate_pem, options.key_pem));
  CHECK_OK(c->warm_up());
  return c;
}

Result<std::shared_ptr<Config>> Config::insecure_client() {
  auto c = std::make_shared<Config>();
  CHECK_OK(c->defaults(MBEDTLS_SSL_IS_CLIENT, true));
  c->trust = Trust::anyone;
  mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_NONE);
  return c;
}

Result<> Config::load_system_roots() {
  if (trust != Trust::system || roots_loaded) return {};
  const char* chosen = std::getenv("SSL_CERT_FILE");
  const char* places[] = {chosen, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                          "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
  for (const char* place : places) {
    if (place == nullptr || *place == '\0') continue;
    Result<std::string> pem = read_file(place, max_bundle);
    if (!pem) continue;
    // A positive result counts the certificates that mbedTLS cannot read: the others serve.
    if (mbedtls_x509_crt_parse(&authorities, bytes_of(*pem), pem->size() + 1) < 0) continue;
    mbedtls_ssl_conf_ca_chain(&ssl, &authorities, nullptr);
    roots_loaded = true;
    return {};
  }
  return fail(Errc::unavailable,
              "this device has no bundle of certificate authorities (install ca-certificates)");
}

}  // namespace limpet::tls

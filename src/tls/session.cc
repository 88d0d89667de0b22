#include "tls/session.h"

#include <mbedtls/oid.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/mbed.h"
#include "base/sha256.h"
#include "tls/verify.h"

namespace limpet::tls {

namespace {

// RFC 8446 section 6, in words for the person at the other end of the log.
std::string alert_text(int alert) {
  struct Row {
    int alert;
    const char* text;
  };
  constexpr Row rows[] = {
      {40, "no common cipher or key exchange"},
      {42, "our certificate is bad"},
      {43, "our certificate is of an unsupported kind"},
      {44, "our certificate was revoked"},
      {45, "our certificate has expired (or its clock is wrong)"},
      {46, "our certificate is not acceptable"},
      {47, "illegal parameter"},
      {48, "it does not know the CA of our certificate"},
      {49, "access denied"},
      {70, "no common TLS version"},
      {71, "our ciphers are too weak for it"},
      {112, "it does not serve this name"},
      {116, "it wants a client certificate"},
      {120, "no common application protocol"},
  };
  for (const Row& row : rows) {
    if (row.alert == alert) return strf("%s (alert %d)", row.text, alert);
  }
  return strf("alert %d", alert);
}

// Those about who we are.
bool is_refusal(int alert) {
  return (alert >= 42 && alert <= 46) || alert == 48 || alert == 49 || alert == 116;
}

// mbedTLS checks the use of a certificate too, but where certificates are optional it only takes a note.
uint32_t use_flags(const mbedtls_x509_crt& leaf, bool peer_is_client) {
  const char* use = peer_is_client ? MBEDTLS_OID_CLIENT_AUTH : MBEDTLS_OID_SERVER_AUTH;
  uint32_t flags = 0;
  if (mbedtls_x509_crt_check_key_usage(&leaf, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0) {
    flags |= MBEDTLS_X509_BADCERT_KEY_USAGE;
  }
  if (mbedtls_x509_crt_check_extended_key_usage(&leaf, use, strlen(use)) != 0) {
    flags |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
  }
  return flags;
}

}  // namespace

Session::Session(std::shared_ptr<Config> c, std::shared_ptr<std::atomic<int64_t>> connections)
    : config(std::move(c)), connections_(std::move(connections)) {
  mbedtls_ssl_init(&ssl);
  ++*connections_;
}

Session::~Session() {
  mbedtls_ssl_free(&ssl);
  --*connections_;
}

Result<> Session::set_up(const std::string& peer) {
  peer_ = peer;
  int rc = mbedtls_ssl_setup(&ssl, &config->ssl);
  if (rc != 0) return fail(Errc::exhausted, "TLS: " + mbed_error(rc));
  mbedtls_ssl_set_bio(&ssl, this, send, receive, nullptr);
  mbedtls_ssl_set_verify(&ssl, verify, this);
  if (config->is_server) return {};
  // Server name indication is for host names only; the certificate's name is checked by verify() in any case.
  if (peer_.size() > 253) return fail(Errc::invalid_argument, "TLS: server name is too long");
  std::string host = peer_.ends_with('.') ? peer_.substr(0, peer_.size() - 1) : peer_;
  rc = mbedtls_ssl_set_hostname(&ssl, is_ip(host) ? nullptr : host.c_str());
  if (rc != 0) return fail(Errc::invalid_argument, "TLS: server name: " + mbed_error(rc));
  const mbedtls_ssl_session* past = config->sessions.find(peer_);
  if (past != nullptr) offered_session_ = mbedtls_ssl_set_session(&ssl, past) == 0;
  return {};
}

int Session::send(void* context, const unsigned char* data, size_t size) {
  static_cast<Session*>(context)->out.append(reinterpret_cast<const char*>(data), size);
  return static_cast<int>(size);
}

int Session::receive(void* context, unsigned char* data, size_t size) {
  auto* self = static_cast<Session*>(context);
  size_t n = 0;
  if (self->in_at < self->in.size()) {
    n = std::min(size, self->in.size() - self->in_at);
    memcpy(data, self->in.data() + self->in_at, n);
    self->in_at += n;
    if (self->in_at == self->in.size()) {
      self->in = {};  // frees: an idle connection holds no buffer of ours
      self->in_at = 0;
    }
  } else if (!self->in_borrowed.empty()) {
    n = std::min(size, self->in_borrowed.size());
    memcpy(data, self->in_borrowed.data(), n);
    self->in_borrowed.remove_prefix(n);
  } else {
    return self->in_ended ? 0 : MBEDTLS_ERR_SSL_WANT_READ;
  }
  if (self->first_byte_ < 0 && n > 0) self->first_byte_ = data[0];
  size_t kept = std::min(n, sizeof tail_);
  memmove(self->tail_, self->tail_ + kept, sizeof tail_ - kept);
  memcpy(self->tail_ + sizeof tail_ - kept, data + n - kept, kept);
  return static_cast<int>(n);
}

std::string Session::who(const mbedtls_x509_crt& leaf) const {
  return config->is_server ? common_name_of(leaf) + " (" + peer_ + ")" : peer_;
}

// What is wrong with one certificate of the chain, as "certificate of X ..."; empty when nothing is.
std::string Session::problem_of(const mbedtls_x509_crt& certificate, int depth, uint32_t flags) const {
  std::string subject =
      depth == 0 ? "certificate of " + who(certificate)
                 : "the authority " + common_name_of(certificate) + " behind the certificate of " + peer_;
  // A chain that leads nowhere is flagged at its top; people look for the certificate they know.
  if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0)
    subject = "certificate of " + (depth == 0 ? who(certificate) : peer_);
  if (depth == 0) flags |= use_flags(certificate, config->is_server);
  if (flags != 0) return subject + " " + flags_problem(flags, config->authority);
  if (depth == 0 && !config->is_server && !matches_name(certificate, peer_)) {
    return subject + " is for " + names_of(certificate) + ", not for " + peer_;
  }
  std::string time = time_problem(certificate, now_);
  return time.empty() ? "" : subject + " " + time;
}

// Called from the top of the chain down. mbedTLS's opinion on time and names is replaced by ours.
int Session::verify(void* context, mbedtls_x509_crt* certificate, int depth, uint32_t* flags) {
  auto* self = static_cast<Session*>(context);
  self->verified_ = true;
  // See verify_pinned; here, so that the other side hears of it.
  if (self->config->trust == Trust::pin) {
    if (depth != 0 || self->pinned_in(*certificate) != nullptr) return 0;
    self->problem_ = self->off_pin();
    return MBEDTLS_ERR_X509_FATAL_ERROR;
  }
  *flags &= ~static_cast<uint32_t>(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE |
                                   MBEDTLS_X509_BADCERT_CN_MISMATCH);
  // The leaf is named rather than the authority above it, when both have something.
  std::string problem = self->problem_of(*certificate, depth, *flags);
  if (!problem.empty() && (self->problem_.empty() || depth == 0)) {
    self->problem_is_time_ = *flags == 0 && !time_problem(*certificate, self->now_).empty();
    self->problem_ = std::move(problem);
  }
  // Refused within the handshake, so that the peer hears an alert, also where certificates are optional.
  return depth == 0 && !self->problem_.empty() ? MBEDTLS_ERR_X509_FATAL_ERROR : 0;
}

Session::Step Session::handshake(WallTime now) {
  now_ = now;
  if (LIMPET_FAILPOINT("tls.handshake.step")) {
    error = {Errc::io, "TLS: failpoint tls.handshake.step", 0};
    return Step::failed;
  }
  if (Result<> roots = config->load_system_roots(); !roots) {
    error = std::move(roots).error();
    return Step::failed;
  }
  ticket_accepted = &resumed;
  int rc = mbedtls_ssl_handshake(&ssl);
  ticket_accepted = nullptr;
  if (rc == MBEDTLS_ERR_SSL_WANT_READ) return Step::wants_more;
  if (rc != 0) {
    error = why(rc);
    return Step::failed;
  }
  if (Result<> checked = after_handshake(); !checked) {
    error = std::move(checked).error();
    return Step::failed;
  }
  return Step::done;
}

Result<> Session::after_handshake() {
  const char* protocol_name = mbedtls_ssl_get_version(&ssl);
  protocol = protocol_name;
  const char* chosen = mbedtls_ssl_get_alpn_protocol(&ssl);
  alpn = chosen == nullptr ? std::string_view() : std::string_view(chosen);
  if (config->trust == Trust::anyone) return {};
  const mbedtls_x509_crt* leaf = mbedtls_ssl_get_peer_cert(&ssl);
  if (leaf == nullptr) {
    if (config->is_server) return {};  // no client certificate: other means authenticate
    return fail(Errc::unauthenticated, "TLS: " + peer_ + " sent no certificate");
  }
  if (!config->is_server) resumed = offered_session_ && !verified_;
  if (config->trust == Trust::pin && !resumed) {
    CHECK_OK(verify_pinned(*leaf));
  } else if (!verified_) {
    // A resumed session was verified when it began; time goes on.
    std::string problem = problem_of(*leaf, 0, 0);
    if (!problem.empty()) return fail(Errc::unauthenticated, problem);
  }
  peer_certificate = view_of(leaf->raw.p, leaf->raw.len);
  return {};
}

// The certificate with the pinned public key, null when the chain that the peer sent has none.
const mbedtls_x509_crt* Session::pinned_in(const mbedtls_x509_crt& chain) const {
  for (const mbedtls_x509_crt* c = &chain; c != nullptr; c = c->next) {
    if (sha256_hex(view_of(c->pk_raw.p, c->pk_raw.len)) == config->pin) return c;
  }
  return nullptr;
}

std::string Session::off_pin() const {
  return "certificate of " + peer_ +
         " does not descend from the CA with the hash given: it is of another cluster, or something stands "
         "between";
}

// The pinned public key must stand in the chain that the peer sent, and the leaf must descend from it.
Result<> Session::verify_pinned(const mbedtls_x509_crt& chain) {
  const mbedtls_x509_crt* anchor = pinned_in(chain);
  if (anchor == nullptr) return fail(Errc::unauthenticated, off_pin());
  mbedtls_x509_crt root;
  mbedtls_x509_crt leaf;
  mbedtls_x509_crt_init(&root);
  mbedtls_x509_crt_init(&leaf);
  int rc = mbedtls_x509_crt_parse_der(&root, anchor->raw.p, anchor->raw.len);
  for (const mbedtls_x509_crt* c = &chain; c != nullptr && rc == 0; c = c->next) {
    rc = mbedtls_x509_crt_parse_der(&leaf, c->raw.p, c->raw.len);
  }
  uint32_t flags = 0;
  auto without_time = [](void*, mbedtls_x509_crt*, int, uint32_t* f) {
    *f &= ~static_cast<uint32_t>(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    return 0;
  };
  if (rc == 0) rc = mbedtls_x509_crt_verify(&leaf, &root, nullptr, nullptr, &flags, without_time, nullptr);
  mbedtls_x509_crt_free(&leaf);
  std::string anchor_time = time_problem(root, now_);
  mbedtls_x509_crt_free(&root);
  if (rc != 0 && flags == 0) flags = MBEDTLS_X509_BADCERT_OTHER;
  std::string problem = problem_of(chain, 0, flags);
  if (problem.empty() && !anchor_time.empty()) problem = "the CA of " + peer_ + " " + anchor_time;
  if (!problem.empty()) return fail(Errc::unauthenticated, problem);
  return {};
}

Error Session::alert() const {
  const int number = ssl.LIMPET_MBED(in_msg)[1];
  if (is_refusal(number))
    return {Errc::permission_denied, "the other side refused: " + alert_text(number), 0};
  return {Errc::io, "TLS: the other side ended the connection: " + alert_text(number), 0};
}

Error Session::why(int rc) {
  auto make = [](Errc code, std::string text) { return Error{code, std::move(text), 0}; };
  if (!problem_.empty()) return make(problem_is_time_ ? Errc::expired : Errc::unauthenticated, problem_);
  std::string with = "TLS handshake with " + peer_ + ": ";
  if (first_byte_ >= 0 && first_byte_ != 22 && first_byte_ != 21) {
    return make(Errc::invalid_argument, with + "what it sent is not TLS");
  }
  switch (rc) {
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
      // An alert in the clear: type 21, version 3.x, two bytes, level 2, description. TLS 1.3 may encrypt it.
      if (tail_[0] == 21 && tail_[1] == 3 && tail_[3] == 0 && tail_[4] == 2) {
        return make(Errc::permission_denied, with + "the other side refused: " + alert_text(tail_[6]));
      }
      return make(Errc::permission_denied, with + "the other side refused");
    case MBEDTLS_ERR_SSL_CONN_EOF:
      return make(Errc::unavailable, with + "the connection was closed");
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
      return make(Errc::exhausted, with + "out of memory");
    default:
      return make(Errc::invalid_argument, with + mbed_error(rc));
  }
}

}  // namespace limpet::tls

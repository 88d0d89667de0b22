#include "tls/verify.h"

#include <arpa/inet.h>
#include <mbedtls/oid.h>
#include <strings.h>

#include <cstring>

#include "base/mbed.h"

namespace limpet::tls {

namespace {

constexpr int dns_tag = 2;
constexpr int ip_tag = 7;

std::string ip_bytes(const std::string& text) {
  char buffer[16];
  if (inet_pton(AF_INET, text.c_str(), buffer) == 1) return std::string(buffer, 4);
  if (inet_pton(AF_INET6, text.c_str(), buffer) == 1) return std::string(buffer, 16);
  return {};
}

bool same_host(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool dns_matches(std::string_view pattern, std::string_view host) {
  if (!pattern.starts_with("*.")) return same_host(pattern, host);
  size_t dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  std::string_view parent = host.substr(dot + 1);
  return parent.find('.') != std::string_view::npos && same_host(pattern.substr(2), parent);
}

template <class F>
void each_alt_name(const mbedtls_x509_crt& certificate, F f) {
  for (const mbedtls_x509_sequence* s = &certificate.subject_alt_names; s != nullptr && s->buf.p != nullptr;
       s = s->next) {
    f(s->buf.tag & 0x1f, view_of(s->buf.p, s->buf.len));
  }
}

int64_t seconds_of(const mbedtls_x509_time& t) {
  return unix_seconds(t.year, t.mon, t.day, t.hour, t.min, t.sec);
}

// Bytes of others, for a message on one line.
std::string printable(std::string_view s) {
  std::string out;
  for (char c : s.substr(0, 128)) out.push_back(c >= 0x20 && c < 0x7f ? c : '?');
  return out;
}

}  // namespace

bool is_ip(const std::string& name) { return !ip_bytes(name).empty(); }

bool matches_name(const mbedtls_x509_crt& certificate, const std::string& name) {
  std::string ip = ip_bytes(name);
  std::string_view host = name;
  if (host.ends_with('.')) host.remove_suffix(1);
  bool found = false;
  each_alt_name(certificate, [&](int tag, std::string_view value) {
    if (ip.empty() ? tag == dns_tag && dns_matches(value, host) : tag == ip_tag && value == ip) found = true;
  });
  return found;
}

std::string names_of(const mbedtls_x509_crt& certificate) {
  std::string out;
  size_t more = 0;
  each_alt_name(certificate, [&](int tag, std::string_view value) {
    char text[INET6_ADDRSTRLEN];
    std::string name;
    if (tag == dns_tag) name = printable(value);
    if (tag == ip_tag && (value.size() == 4 || value.size() == 16) &&
        inet_ntop(value.size() == 4 ? AF_INET : AF_INET6, value.data(), text, sizeof text) != nullptr) {
      name = text;
    }
    if (name.empty()) return;
    if (out.size() > 200) {
      more++;
    } else {
      out += (out.empty() ? "" : ", ") + name;
    }
  });
  if (more != 0) out += strf(" and %zu more", more);
  return out.empty() ? "no name at all" : out;
}

std::string common_name_of(const mbedtls_x509_crt& certificate) {
  for (const mbedtls_x509_name* n = &certificate.subject; n != nullptr; n = n->next) {
    if (n->oid.p != nullptr && MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &n->oid) == 0) {
      return printable(view_of(n->val.p, n->val.len));
    }
  }
  return "an unnamed client";
}

std::string time_problem(const mbedtls_x509_crt& certificate, WallTime t) {
  int64_t from = seconds_of(certificate.valid_from);
  int64_t to = seconds_of(certificate.valid_to);
  if (t.seconds > to)
    return "expired at " + rfc3339({to, 0}) + " (it is " + rfc3339({t.seconds, 0}) + " here)";
  if (t.seconds < from) {
    return "is not valid before " + rfc3339({from, 0}) + " (it is " + rfc3339({t.seconds, 0}) + " here)";
  }
  return "";
}

std::string flags_problem(uint32_t flags, const std::string& authority) {
  struct Row {
    uint32_t flag;
    const char* text;
  };
  constexpr Row rows[] = {
      {MBEDTLS_X509_BADCERT_NOT_TRUSTED, ""},
      {MBEDTLS_X509_BADCERT_MISSING, "is missing"},
      {MBEDTLS_X509_BADCERT_REVOKED, "was revoked"},
      {MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE |
           MBEDTLS_X509_BADCERT_NS_CERT_TYPE,
       "was issued for another use"},
      {MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY,
       "uses a signature or key that is too weak"},
  };
  for (const Row& row : rows) {
    if ((flags & row.flag) == 0) continue;
    return *row.text == '\0' ? "is not signed by " + authority : row.text;
  }
  return strf("is not acceptable (flags %#x)", static_cast<unsigned>(flags));
}

}  // namespace limpet::tls

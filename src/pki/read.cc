// Reading certificates and requests: mbedTLS checks the structure, our reader picks out what limpet asks for.
#include <mbedtls/md.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>

#include "base/bytes.h"
#include "base/mbed.h"
#include "base/sha256.h"
#include "pki/certificate.h"
#include "pki/der.h"
#include "pki/names.h"
#include "pki/oids.h"
#include "pki/pem.h"

namespace limpet::pki {

namespace {

constexpr size_t max_certificate = 64 * 1024;
constexpr size_t max_bundle = 512;

class Crt {
 public:
  Crt() { mbedtls_x509_crt_init(&crt_); }
  ~Crt() { mbedtls_x509_crt_free(&crt_); }
  Crt(const Crt&) = delete;
  Result<> parse(std::string_view der) {
    if (der.size() > max_certificate) return fail(Errc::too_large, "certificate is too large");
    int rc = mbedtls_x509_crt_parse_der(&crt_, bytes_of(der), der.size());
    if (rc != 0) return fail(Errc::invalid_argument, "malformed certificate: " + mbed_error(rc));
    return {};
  }
  mbedtls_x509_crt* get() { return &crt_; }
  mbedtls_x509_crt* operator->() { return &crt_; }

 private:
  mbedtls_x509_crt crt_;
};

class Csr {
 public:
  Csr() { mbedtls_x509_csr_init(&csr_); }
  ~Csr() { mbedtls_x509_csr_free(&csr_); }
  Csr(const Csr&) = delete;
  mbedtls_x509_csr* get() { return &csr_; }
  mbedtls_x509_csr* operator->() { return &csr_; }

 private:
  mbedtls_x509_csr csr_;
};

std::string_view view(const mbedtls_x509_buf& b) { return view_of(b.p, b.len); }

int64_t seconds_of(const mbedtls_x509_time& t) {
  return unix_seconds(t.year, t.mon, t.day, t.hour, t.min, t.sec);
}

Result<Certificate> from_der(std::string_view der) {
  Crt crt;
  CHECK_OK(crt.parse(der));
  Certificate out;
  out.der = view(crt->raw);
  out.subject_der = view(crt->subject_raw);
  TRY(out.subject, decode_subject(out.subject_der));
  TRY(out.issuer, decode_subject(view(crt->issuer_raw)));
  out.serial = hex(view(crt->serial));
  out.not_before = seconds_of(crt->valid_from);
  out.not_after = seconds_of(crt->valid_to);
  out.is_ca = crt->LIMPET_MBED(ca_istrue) != 0;
  out.spki = view(crt->pk_raw);
  std::string_view extensions = view(crt->v3_ext);
  std::string_view alt_names = find_extension(extensions, oids::subject_alt_name);
  if (!alt_names.empty()) {
    TRY(out.names, decode_alt_names(alt_names));
  }
  der::Reader id(find_extension(extensions, oids::subject_key_identifier));
  if (auto octets = id.next(der::octet_string)) out.subject_key_id = octets->content;
  return out;
}

// PEM when it looks like PEM, else taken for DER.
Result<std::string> der_of(std::string_view bytes, std::string_view label) {
  if (bytes.find("-----BEGIN ") == std::string_view::npos) return std::string(bytes);
  return from_pem(bytes, label);
}

Result<> check_request_signature(mbedtls_x509_csr* csr) {
  mbedtls_md_type_t md = csr->LIMPET_MBED(sig_md);
  mbedtls_pk_type_t kind = csr->LIMPET_MBED(sig_pk);
  bool strong = md == MBEDTLS_MD_SHA256 || md == MBEDTLS_MD_SHA384 || md == MBEDTLS_MD_SHA512;
  if (!strong || (kind != MBEDTLS_PK_ECDSA && kind != MBEDTLS_PK_RSA)) {
    return fail(Errc::unsupported, "certificate request: signature algorithm is not accepted");
  }
  if (mbedtls_pk_get_bitlen(&csr->pk) > 4096)
    return fail(Errc::unsupported, "certificate request: key is too large");
  const mbedtls_md_info_t* info = mbedtls_md_info_from_type(md);
  unsigned char hash[MBEDTLS_MD_MAX_SIZE];
  if (info == nullptr || mbedtls_md(info, csr->cri.p, csr->cri.len, hash) != 0) {
    return fail(Errc::unsupported, "certificate request: unknown hash");
  }
  const auto& signature = csr->LIMPET_MBED(sig);
  if (mbedtls_pk_can_do(&csr->pk, kind) == 0 ||
      mbedtls_pk_verify(&csr->pk, md, hash, mbedtls_md_get_size(info), signature.p, signature.len) != 0) {
    return fail(Errc::invalid_argument, "certificate request: not signed by its own key");
  }
  return {};
}

// The alternative names out of the attributes [0] of a request; none when there are none.
Result<Names> requested_names(std::string_view attributes) {
  for (der::Reader list(attributes); !list.at_end();) {
    auto attribute = list.next(der::sequence);
    if (!attribute) break;
    der::Reader fields(attribute->content);
    auto type = fields.next(der::oid);
    auto values = fields.next(der::set);
    if (!type || !values || type->content != oids::extension_request) continue;
    std::string_view alt_names = find_extension(values->content, oids::subject_alt_name);
    if (!alt_names.empty()) return decode_alt_names(alt_names);
  }
  return Names{};
}

// Forgets what mbedTLS thinks of the time; ours decides.
int ignore_time(void*, mbedtls_x509_crt*, int, uint32_t* flags) {
  *flags &= ~static_cast<uint32_t>(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
  return 0;
}

}  // namespace

std::string Certificate::spki_sha256() const { return sha256_hex(spki); }

Result<Certificate> parse_certificate(std::string_view pem_or_der) {
  TRY(std::string der, der_of(pem_or_der, "CERTIFICATE"));
  return from_der(der);
}

Result<std::vector<Certificate>> parse_bundle(std::string_view pem) {
  std::vector<Certificate> out;
  for (;;) {
    TRY(std::optional<std::string> der, next_pem(pem, "CERTIFICATE"));
    if (!der) break;
    if (out.size() >= max_bundle) return fail(Errc::too_large, "too many certificates in one bundle");
    TRY(Certificate certificate, from_der(*der));
    out.push_back(std::move(certificate));
  }
  if (out.empty()) return fail(Errc::invalid_argument, "no PEM block CERTIFICATE");
  return out;
}

Result<> verify_signed_by(const Certificate& certificate, const Certificate& ca, WallTime t) {
  Crt leaf;
  Crt root;
  CHECK_OK(leaf.parse(certificate.der));
  CHECK_OK(root.parse(ca.der));
  uint32_t flags = 0;
  int rc = mbedtls_x509_crt_verify(leaf.get(), root.get(), nullptr, nullptr, &flags, ignore_time, nullptr);
  if (rc != 0) {
    return fail(Errc::unauthenticated,
                "certificate of " + certificate.subject.common_name + " is not signed by " +
                    (ca.subject.common_name.empty() ? "the authority" : ca.subject.common_name));
  }
  if (t.seconds < certificate.not_before) {
    return fail(Errc::unauthenticated, "certificate of " + certificate.subject.common_name +
                                           " is not valid before " + rfc3339({certificate.not_before, 0}));
  }
  if (t.seconds > certificate.not_after) {
    return fail(Errc::expired, "certificate of " + certificate.subject.common_name + " expired at " +
                                   rfc3339({certificate.not_after, 0}));
  }
  return {};
}

Result<Request> parse_request(std::string_view pem_or_der) {
  std::string_view label = "CERTIFICATE REQUEST";
  if (pem_or_der.find("BEGIN NEW CERTIFICATE REQUEST") != std::string_view::npos)
    label = "NEW CERTIFICATE REQUEST";
  TRY(std::string der, der_of(pem_or_der, label));
  if (der.size() > max_certificate) return fail(Errc::too_large, "certificate request is too large");
  Csr csr;
  int rc = mbedtls_x509_csr_parse_der(csr.get(), bytes_of(der), der.size());
  if (rc != 0) return fail(Errc::invalid_argument, "malformed certificate request: " + mbed_error(rc));
  CHECK_OK(check_request_signature(csr.get()));

  der::Reader outer(view(csr->cri));
  auto info = outer.next(der::sequence);
  if (!info) return fail(Errc::invalid_argument, "malformed certificate request");
  der::Reader fields(info->content);
  fields.next(der::integer);
  auto name = fields.next(der::sequence);
  auto spki = fields.next(der::sequence);
  auto attributes = fields.next(der::context_constructed(0));
  if (!name || !spki) return fail(Errc::invalid_argument, "malformed certificate request");
  Request out;
  TRY(out.subject, decode_subject(name->whole));
  out.spki = spki->whole;
  if (attributes) {
    TRY(out.names, requested_names(attributes->content));
  }
  return out;
}

}  // namespace limpet::pki

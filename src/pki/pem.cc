// PEM (RFC 7468): base64 of DER between two lines.
#include "pki/pem.h"
#include "base/bytes.h"
#include "pki/certificate.h"

namespace limpet::pki {

std::string to_pem(std::string_view der, std::string_view label) {
  std::string text = base64_encode(der);
  std::string out = "-----BEGIN " + std::string(label) + "-----\n";
  for (size_t at = 0; at < text.size(); at += 64) out.append(text, at, 64).append("\n");
  return out + "-----END " + std::string(label) + "-----\n";
}

Result<std::optional<std::string>> next_pem(std::string_view& rest, std::string_view label) {
  std::string begin = "-----BEGIN " + std::string(label) + "-----";
  std::string end = "-----END " + std::string(label) + "-----";
  size_t at = rest.find(begin);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view body = rest.substr(at + begin.size());
  size_t stop = body.find(end);
  if (stop == std::string_view::npos) {
    return fail(Errc::invalid_argument, "PEM block " + std::string(label) + " has no end");
  }
  rest = body.substr(stop + end.size());
  std::string text;
  for (char c : body.substr(0, stop)) {
    if (c != '\n' && c != '\r' && c != ' ' && c != '\t') text.push_back(c);
  }
  Result<std::string> der = base64_decode(text);
  if (!der) return fail(Errc::invalid_argument, "PEM block " + std::string(label) + " is not base64");
  return std::optional<std::string>(std::move(*der));
}

Result<std::string> from_pem(std::string_view pem, std::string_view label) {
  TRY(std::optional<std::string> der, next_pem(pem, label));
  if (!der) return fail(Errc::invalid_argument, "no PEM block " + std::string(label));
  return std::move(*der);
}

}  // namespace limpet::pki

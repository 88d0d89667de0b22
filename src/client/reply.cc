#include "base/json.h"
#include "client/client.h"

namespace limpet::client {
namespace {

Errc code_of(int status, std::string_view reason) {
  switch (status) {
    case 400:
    case 405:
    case 406:
    case 415:
    case 422:
      return Errc::invalid_argument;
    case 401:
      return Errc::unauthenticated;
    case 403:
      return Errc::permission_denied;
    case 404:
      return Errc::not_found;
    case 409:
      return reason == "AlreadyExists" ? Errc::already_exists : Errc::conflict;
    case 410:
      return Errc::expired;
    case 413:
      return Errc::too_large;
    case 429:
    case 507:
      return Errc::exhausted;
    case 501:
      return Errc::unsupported;
    case 503:
      return Errc::unavailable;
    case 504:
      return Errc::timeout;
    default:
      return Errc::internal;
  }
}

}  // namespace

Error Reply::error() const {
  Error e;
  std::string reason;
  if (json::validate(body)) {
    json::Cursor c(body);
    e.message = c["message"].str();
    reason = c["reason"].str();
  }
  e.code = code_of(status, reason);
  if (e.message.empty()) e.message = "the API server answered " + std::to_string(status);
  return e;
}

}  // namespace limpet::client

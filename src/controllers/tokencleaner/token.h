// A token with which devices join, as its cleaner sees it: a Secret of type bootstrap.kubernetes.io/token.
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "controllers/object.h"

namespace limpet::controllers {

struct TokenView : Object {
  std::string expiration;  // as written, RFC 3339; empty: for ever. The secret itself is not kept.
};
TokenView read_token(json::Cursor secret);

// How long the token is still good, in milliseconds: 0 when it is not, nothing for ever. What is no time has
// expired, as upstream.
std::optional<int64_t> time_left_ms(const TokenView& token, WallTime now);

}  // namespace limpet::controllers

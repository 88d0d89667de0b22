#include "controllers/tokencleaner/token.h"

#include <algorithm>

#include "base/bytes.h"

namespace limpet::controllers {
namespace {

constexpr int64_t kLongestS = 100LL * 365 * 86'400;

}  // namespace

TokenView read_token(json::Cursor secret) {
  TokenView out;
  read_object(secret, out);
  const json::Cursor data = secret["data"]["expiration"];
  if (data) out.expiration = base64_decode(data.str()).value_or("unreadable");
  return out;
}

std::optional<int64_t> time_left_ms(const TokenView& token, WallTime now) {
  if (token.expiration.empty()) return std::nullopt;
  const Result<WallTime> end = parse_rfc3339(token.expiration);
  if (!end || *end <= now) return 0;
  // A little more, not less: at the end of this time it has expired.
  const int64_t seconds = std::min(end->seconds - now.seconds, kLongestS);
  return seconds * 1000 + (end->nanos - now.nanos) / 1'000'000 + 1;
}

}  // namespace limpet::controllers

// Any bytes as a join token, the Secret of one, the two bodies of a join, the record of a device, the
// opened keys of a cluster, what a server says that it trusts, and the two bodies of an agent that asks for
// what it goes by: refused with a reason, or read in such a way that it is written as it was read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cluster/authority.h"
#include "cluster/join.h"
#include "cluster/renewal.h"
#include "cluster/signing.h"
#include "cluster/trust.h"
#include "cluster/whereabouts.h"

using namespace limpet;
using namespace limpet::cluster;

namespace {

template <class T>
bool read(const Result<T>& result) {
  if (!result && result.error().message.empty()) abort();
  return result.has_value();
}

// What was read and written again reads the same.
template <class Decode>
void check(std::string_view bytes, const Decode& decode) {
  const auto first = decode(bytes);
  if (!read(first)) return;
  const std::string text = encode(*first);
  const auto second = decode(text);
  if (!read(second) || encode(*second) != text) abort();
}

void check_token_text(std::string_view bytes) {
  const auto token = parse_token(bytes);
  if (read(token) && token->text() != bytes) abort();
}

void check_secret(std::string_view bytes) {
  Result<json::Value> parsed = json::parse(bytes);
  if (!parsed) return;
  json::Ref secret = parsed->ref();
  (void)read(read_grant(secret));
  const Token token{std::string(64, 'a'), "abc123", "0123456789abcdef"};
  (void)read(check_token(token, secret, {token.ca_sha256}, Role::agent, false, {1'780'000'000, 0}));
  const auto before = read_grant(secret);
  if (!take_use(secret)) return;
  const auto after = read_grant(secret);
  if (!before || !after || *after->uses_left + 1 != *before->uses_left) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_token_text(bytes);
  check_secret(bytes);
  check(bytes, decode_join_request);
  check(bytes, decode_join_answer);
  check(bytes, decode_renew_request);
  check(bytes, decode_renew_answer);
  check(bytes, decode_device);
  check(bytes, decode_whereabouts);
  (void)read(decode_denied(bytes));
  check(bytes, decode_trust_report);
  check(bytes, decode_authorities);
  check(bytes, decode_signing_keys);
  return 0;
}

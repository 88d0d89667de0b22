// Bytes of a peer: what a decoder lets through comes back as the same value, and a connection's frames are
// the same whatever pieces they arrive in. The first byte says what the rest is.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "peer/address.h"
#include "peer/wire.h"

using namespace limpet;
using namespace limpet::peer;

namespace {

void hello(std::string_view bytes) {
  const Result<size_t> size = envelope_size(bytes);
  if (!size || *size == 0) return;
  if (const auto got = decode_hello(bytes.substr(0, *size))) {
    auto again = decode_hello(encode(*got));
    if (again) again->version = got->version;  // the highest that both know; encode() offers all
    if (!again || *again != *got) std::abort();
  }
  if (const auto got = decode_answer(bytes.substr(0, *size))) {
    const auto again = decode_answer(encode(*got));
    // A reason of a later version is `other` from then on.
    if (!again || again->refused.has_value() != got->refused.has_value()) std::abort();
    if (!got->refused && again->about != got->about) std::abort();
  }
}

// Everything that a connection gives, then how it ended.
std::string read(Kind kind, std::string_view bytes, size_t piece) {
  FrameReader reader(kind);
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    reader.add(bytes.substr(at, piece));
    for (;;) {
      const auto next = reader.next();
      if (!next) return out + "!" + next.error().message;
      if (!*next) break;
      out.push_back(static_cast<char>((*next)->type));
      out.append((*next)->payload).push_back('|');
      if (kind != Kind::agent) continue;
      if (const auto message = decode_control(**next)) {
        FrameReader second(kind);
        second.add(encode(*message));
        const auto frame = second.next();
        if (!frame || !*frame || decode_control(**frame).value() != *message) std::abort();
      }
    }
  }
  return out;
}

void frames(Kind kind, std::string_view bytes) {
  if (read(kind, bytes, 1) != read(kind, bytes, bytes.size() + 1)) std::abort();
}

void address(std::string_view bytes) {
  const auto got = parse_address(bytes);
  if (!got) return;
  const auto again = parse_address(got->text());
  if (!again || again->text() != got->text()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      hello(rest);
      break;
    case 1:
      frames(Kind::raft, rest);
      break;
    case 2:
      frames(Kind::agent, rest);
      break;
    default:
      address(rest);
  }
  return 0;
}

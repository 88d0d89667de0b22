#include "client/bundle_wire.h"

#include <charconv>

namespace limpet::client {
namespace {

template <class T>
bool read_number(std::string_view text, T* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Result<BundleAsk> bad() { return fail(Errc::corrupt, "a message that is none of a bundle of streams"); }

}  // namespace

std::string encode_open(uint32_t id, std::string_view target) {
  return "open " + std::to_string(id) + " " + std::string(target);
}

std::string encode_close(uint32_t id) { return "close " + std::to_string(id); }

Result<BundleAsk> decode_ask(std::string_view message) {
  const bool open = message.starts_with("open ");
  if (!open && !message.starts_with("close ")) return bad();
  message.remove_prefix(open ? 5 : 6);
  const size_t space = message.find(' ');
  BundleAsk ask;
  if (!read_number(message.substr(0, space), &ask.id) || ask.id == 0) return bad();
  if (open != (space != std::string_view::npos)) return bad();
  if (!open) return ask;
  ask.target = message.substr(space + 1);
  if (!ask.target.starts_with('/') || ask.target.size() > max_bundle_target) return bad();
  return ask;
}

std::string encode_piece(uint32_t id, BundleKind kind, std::string_view bytes) {
  std::string out;
  out.reserve(5 + bytes.size());
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(id >> shift & 0xff));
  out.push_back(static_cast<char>(kind));
  return out.append(bytes);
}

std::string encode_head(uint32_t id, int status) {
  return encode_piece(id, BundleKind::head, std::to_string(status));
}

Result<BundlePiece> decode_piece(std::string_view message) {
  const auto malformed = [] { return fail(Errc::corrupt, "a malformed message in a bundle of streams"); };
  if (message.size() < 5) return malformed();
  BundlePiece piece;
  for (int i = 0; i < 4; ++i)
    piece.id = piece.id << 8 | static_cast<unsigned char>(message[static_cast<size_t>(i)]);
  piece.kind = static_cast<BundleKind>(message[4]);
  const std::string_view payload = message.substr(5);
  switch (piece.kind) {
    case BundleKind::head:
      if (!read_number(payload, &piece.status) || piece.status < 100 || piece.status > 999)
        return malformed();
      return piece;
    case BundleKind::data:
      piece.bytes = payload;
      return piece;
    case BundleKind::end:
    case BundleKind::broken:
      return piece;
  }
  return malformed();
}

}  // namespace limpet::client

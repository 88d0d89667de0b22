#include "base/bytes.h"

namespace limpet {

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (unsigned char c : bytes) {
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

std::string hex64(uint64_t n) { return strf("%016llx", static_cast<unsigned long long>(n)); }

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

constexpr char kStd[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kUrl[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string encode(std::string_view in, const char* alphabet, bool pad) {
  std::string out;
  out.reserve((in.size() + 2) / 3 * 4);
  size_t i = 0;
  auto at = [&](size_t k) -> uint32_t { return static_cast<unsigned char>(in[k]); };
  for (; i + 3 <= in.size(); i += 3) {
    const uint32_t v = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    for (int shift : {18, 12, 6, 0}) out += alphabet[v >> shift & 63];
  }
  const size_t rest = in.size() - i;
  if (rest == 0) return out;
  const uint32_t v = at(i) << 16 | (rest == 2 ? at(i + 1) << 8 : 0);
  out += alphabet[v >> 18 & 63];
  out += alphabet[v >> 12 & 63];
  if (rest == 2) out += alphabet[v >> 6 & 63];
  if (pad) out.append(rest == 2 ? "=" : "==");
  return out;
}

int digit(char c, const char* extra) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == extra[0]) return 62;
  if (c == extra[1]) return 63;
  return -1;
}

Result<std::string> decode(std::string_view in, const char* extra) {
  std::string out;
  out.reserve(in.size() / 4 * 3 + 2);
  uint32_t acc = 0;
  int bits = 0;
  for (size_t i = 0; i < in.size(); i++) {
    const int d = digit(in[i], extra);
    if (d < 0) return fail(Errc::invalid_argument, strf("illegal base64 data at input byte %zu", i));
    acc = acc << 6 | static_cast<uint32_t>(d);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(acc >> bits & 0xff);
    }
  }
  // Left-over bits must be zero and fewer than six: one text per value, no hidden bits.
  if (bits >= 6 || (acc & ((1u << bits) - 1)) != 0) {
    return fail(Errc::invalid_argument, strf("illegal base64 data at input byte %zu", in.size()));
  }
  return out;
}

}  // namespace

Result<std::string> unhex(std::string_view text) {
  if (text.size() % 2 != 0)
    return fail(Errc::invalid_argument, strf("%zu hex digits are no whole bytes", text.size()));
  std::string out;
  out.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0)
      return fail(Errc::invalid_argument,
                  strf("input byte %zu is no lower-case hex digit", high < 0 ? i : i + 1));
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

std::string base64_encode(std::string_view bytes) { return encode(bytes, kStd, true); }
std::string base64url_encode(std::string_view bytes) { return encode(bytes, kUrl, false); }

Result<std::string> base64_decode(std::string_view text) {
  if (text.find_first_of("\r\n") != std::string_view::npos) {
    std::string joined;
    for (char c : text) {
      if (c != '\r' && c != '\n') joined += c;
    }
    return base64_decode(joined);
  }
  if (text.size() % 4 != 0) {
    return fail(Errc::invalid_argument, strf("illegal base64 data at input byte %zu", text.size()));
  }
  size_t n = text.size();
  while (n > 0 && text.size() - n < 2 && text[n - 1] == '=') n--;
  return decode(text.substr(0, n), "+/");
}

Result<std::string> base64url_decode(std::string_view text) { return decode(text, "-_"); }

}  // namespace limpet

// Text of other devices, for names and for messages on one line. Internal; pure.
#pragma once

#include <string>
#include <string_view>

namespace limpet::peer {

// A DNS-1123 subdomain: what a device may be called.
inline bool is_name(std::string_view s) {
  if (s.empty() || s.size() > 253 || s.front() == '-' || s.front() == '.' || s.back() == '-' ||
      s.back() == '.') {
    return false;
  }
  for (const char c : s) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.')) return false;
  }
  return true;
}

// No line breaks or terminal controls of others in our log.
inline std::string printable(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

}  // namespace limpet::peer

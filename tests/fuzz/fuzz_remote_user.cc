// Any headers as those of a forwarded request: a user or an error with a reason, and a user that was read is
// written in headers that say the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/remote_user.h"

using namespace limpet;

namespace {

http::Headers headers_of(std::string_view text) {
  http::Headers out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    out.add(std::string(line.substr(0, colon)), std::string(line.substr(colon + 2)));
  }
  return out;
}

bool same(const api::User& a, const api::User& b) {
  if (a.bound.size() != b.bound.size()) return false;
  for (size_t i = 0; i < a.bound.size(); ++i) {
    if (a.bound[i].key != b.bound[i].key || a.bound[i].uid != b.bound[i].uid) return false;
  }
  return a.name == b.name && a.uid == b.uid && a.groups == b.groups && a.extra == b.extra;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Result<api::User> user =
      api::read_remote_user(headers_of(std::string_view(reinterpret_cast<const char*>(data), size)));
  if (!user) {
    if (user.error().code != Errc::unauthenticated || user.error().message.empty()) abort();
    return 0;
  }
  if (user->name.empty()) abort();
  http::Headers again;
  api::write_remote_user(again, *user);
  for (const http::Header& h : again.list()) {
    for (const unsigned char c : h.name + h.value) {
      if (c < 0x20 || c > 0x7e) abort();
    }
  }
  Result<api::User> back = api::read_remote_user(again);
  if (!back || !same(*user, *back)) abort();
  return 0;
}

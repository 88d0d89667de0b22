#include "api/remote_user.h"

#include <algorithm>

namespace limpet::api {
namespace {

constexpr std::string_view kUser = "X-Remote-User", kUid = "X-Remote-Uid", kGroup = "X-Remote-Group",
                           kExtra = "X-Remote-Extra-", kBound = "X-Limpet-Bound";

std::string encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (unsigned char c : text) {
    if (c > 0x20 && c < 0x7f && c != '%') {
      out += static_cast<char>(c);
    } else {
      out.append({'%', kHex[c >> 4], kHex[c & 15]});
    }
  }
  return out;
}

void add(http::Headers& headers, std::string name, std::string_view value) {
  headers.add(std::move(name), encoded(value));
}

Result<BoundObject> read_bound(std::string_view text) {
  size_t space = text.find(' ');
  if (space == std::string_view::npos) return fail(Errc::unauthenticated, "a bound object without a uid");
  BoundObject out;
  TRY(out.key, http::percent_decode(text.substr(0, space)));
  TRY(out.uid, http::percent_decode(text.substr(space + 1)));
  if (out.key.empty() || out.uid.empty()) return fail(Errc::unauthenticated, "a bound object without a name");
  return out;
}

Result<> read_extra(const http::Header& h, User& user) {
  TRY(std::string key, http::percent_decode(std::string_view(h.name).substr(kExtra.size())));
  TRY(std::string value, http::percent_decode(h.value));
  auto it = std::find_if(user.extra.begin(), user.extra.end(), [&](const auto& e) { return e.first == key; });
  if (it == user.extra.end()) it = user.extra.insert(user.extra.end(), {std::move(key), {}});
  it->second.push_back(std::move(value));
  return {};
}

Result<> read_one(const http::Header& h, User& user) {
  if (http::same_text(h.name, kUser)) {
    if (!user.name.empty()) return fail(Errc::unauthenticated, "two users for one request");
    TRY(user.name, http::percent_decode(h.value));
  } else if (http::same_text(h.name, kUid)) {
    TRY(user.uid, http::percent_decode(h.value));
  } else if (http::same_text(h.name, kGroup)) {
    TRY(std::string group, http::percent_decode(h.value));
    user.groups.push_back(std::move(group));
  } else if (http::same_text(h.name, kBound)) {
    TRY(BoundObject bound, read_bound(h.value));
    user.bound.push_back(std::move(bound));
  } else if (h.name.size() > kExtra.size() &&
             http::same_text(std::string_view(h.name).substr(0, kExtra.size()), kExtra)) {
    CHECK_OK(read_extra(h, user));
  }
  return {};
}

}  // namespace

void write_remote_user(http::Headers& headers, const User& user) {
  add(headers, std::string(kUser), user.name);
  if (!user.uid.empty()) add(headers, std::string(kUid), user.uid);
  for (const std::string& g : user.groups) add(headers, std::string(kGroup), g);
  for (const auto& [key, values] : user.extra) {
    for (const std::string& v : values) add(headers, std::string(kExtra) + http::percent_encode(key), v);
  }
  for (const BoundObject& b : user.bound)
    headers.add(std::string(kBound), encoded(b.key) + " " + encoded(b.uid));
}

Result<User> read_remote_user(const http::Headers& headers) {
  User user;
  for (const http::Header& h : headers.list()) {
    if (Result<> read = read_one(h, user); !read) {
      return fail(Errc::unauthenticated, "the user of a forwarded request: " + read.error().message);
    }
  }
  if (user.name.empty()) return fail(Errc::unauthenticated, "a forwarded request without a user");
  return user;
}

}  // namespace limpet::api

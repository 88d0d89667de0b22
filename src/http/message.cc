#include "http/message.h"

#include <strings.h>

#include <algorithm>

namespace limpet::http {

bool same_text(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    std::string_view item = list.substr(0, end);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (same_text(item, token)) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

void Headers::set(std::string_view name, std::string value) {
  bool placed = false;
  std::erase_if(list_, [&](Header& h) {
    if (!same_text(h.name, name)) return false;
    if (placed) return true;
    placed = true;
    h.value = value;
    return false;
  });
  if (!placed) list_.push_back({std::string(name), std::move(value)});
}

std::string_view Headers::get(std::string_view name) const {
  for (const Header& h : list_) {
    if (same_text(h.name, name)) return h.value;
  }
  return {};
}

bool Headers::has(std::string_view name) const {
  return std::any_of(list_.begin(), list_.end(), [&](const Header& h) { return same_text(h.name, name); });
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  return std::any_of(list_.begin(), list_.end(), [&](const Header& h) {
    return same_text(h.name, name) && http::has_token(h.value, token);
  });
}

std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const Header& h : list_) {
    if (same_text(h.name, name)) out.push_back(h.value);
  }
  return out;
}

std::string_view Query::get(std::string_view name) const {
  for (const auto& [key, value] : pairs) {
    if (key == name) return value;
  }
  return {};
}

std::vector<std::string_view> Query::all(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const auto& [key, value] : pairs) {
    if (key == name) out.push_back(value);
  }
  return out;
}

bool Query::has(std::string_view name) const {
  return std::any_of(pairs.begin(), pairs.end(), [&](const auto& p) { return p.first == name; });
}

std::string_view reason_phrase(int status) {
  struct Row {
    int status;
    char text[32];
  };
  static constexpr Row rows[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {417, "Expectation Failed"},
      {422, "Unprocessable Entity"},
      {426, "Upgrade Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {507, "Insufficient Storage"},
  };
  for (const Row& row : rows) {
    if (row.status == status) return row.text;
  }
  return status < 400 ? "OK" : "Error";
}

}  // namespace limpet::http

#include "controllers/expectations.h"

#include <algorithm>

namespace limpet::controllers {

void Expectations::expect_version(const std::string& key, int kind, int64_t version, int64_t now_ms) {
  Entry& e = entries_[key];
  int64_t& wanted = e.versions[kind];
  wanted = std::max(wanted, version);
  e.since_ms = now_ms;
}

void Expectations::expect_gone(const std::string& key, const std::string& object, const std::string& uid,
                               int64_t now_ms) {
  Entry& e = entries_[key];
  e.gone.emplace(object, uid);
  e.since_ms = now_ms;
}

bool Expectations::met(const std::string& key, int64_t now_ms, const std::function<int64_t(int)>& version,
                       const std::function<bool(const std::string&, const std::string&)>& gone) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return true;
  Entry& e = it->second;
  std::erase_if(e.versions, [&](const auto& v) { return version(v.first) >= v.second; });
  std::erase_if(e.gone, [&](const auto& g) { return gone(g.first, g.second); });
  if (!(e.versions.empty() && e.gone.empty()) && now_ms - e.since_ms < kLongestMs) return false;
  entries_.erase(it);
  return true;
}

}  // namespace limpet::controllers

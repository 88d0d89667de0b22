// What a controller did itself and its caches have not shown yet. As long as something is expected for a key,
// its objects are not counted again: nothing is created or deleted twice because a watch is a moment behind.
//
// Every write answers with the version of the store that it made, and caches know up to which version they
// have seen everything, so that waiting for a version says it all. Objects that vanish at once have no such
// answer; they are waited for by identity. After five minutes an expectation counts as met, as upstream's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace limpet::controllers {

class Expectations {
 public:
  static constexpr int64_t kLongestMs = 300'000;

  // `kind` names the cache, whatever its user likes.
  void expect_version(const std::string& key, int kind, int64_t version, int64_t now_ms);
  void expect_gone(const std::string& key, const std::string& object, const std::string& uid, int64_t now_ms);
  void forget(const std::string& key) { entries_.erase(key); }

  // `version(kind)`: what the cache has seen; `gone(object, uid)`: the cache has no such object.
  bool met(const std::string& key, int64_t now_ms, const std::function<int64_t(int kind)>& version,
           const std::function<bool(const std::string& object, const std::string& uid)>& gone);

 private:
  struct Entry {
    std::map<int, int64_t> versions;
    std::set<std::pair<std::string, std::string>> gone;  // object key and uid
    int64_t since_ms = 0;
  };
  std::map<std::string, Entry> entries_;
};

}  // namespace limpet::controllers

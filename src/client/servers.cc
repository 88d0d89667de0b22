#include "client/servers.h"

#include <algorithm>

#include "base/bytes.h"

namespace limpet::client {
namespace {

constexpr int64_t kFirstRestMs = 500;
constexpr int64_t kLongestRestMs = 10'000;

}  // namespace

std::string Server::text() const {
  return strf(host.find(':') == std::string::npos ? "%s:%u" : "[%s]:%u", host.c_str(), unsigned{port});
}

Servers::Known* Servers::find(const Server& server) {
  const auto it =
      std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.server == server; });
  return it == known_.end() ? nullptr : &*it;
}

bool Servers::knows(const Server& server) const {
  return std::any_of(known_.begin(), known_.end(), [&](const Known& k) { return k.server == server; });
}

bool Servers::replace(const std::vector<Server>& configured, const std::vector<Server>& learned) {
  std::vector<Known> next;
  for (const auto* list : {&configured, &learned}) {
    for (const Server& s : *list) {
      const bool there = std::any_of(next.begin(), next.end(), [&](const Known& k) { return k.server == s; });
      if (there || next.size() == max_servers) continue;
      const Known* old = find(s);
      next.push_back(old ? *old : Known{.server = s});
      next.back().configured = list == &configured;
    }
  }
  known_ = std::move(next);
  if (!in_use_ || knows(*in_use_)) return false;
  in_use_.reset();
  return true;
}

std::optional<Servers::Choice> Servers::choose(const std::set<Server>& tried, int64_t now_ms) {
  if (in_use_ && !tried.contains(*in_use_)) return Choice{*in_use_, 0};
  std::vector<const Known*> best;
  // Rested ones before resting ones, configured ones before others, the shortest rest first.
  const auto rank = [now_ms](const Known& k) {
    const int64_t wait = std::max<int64_t>(0, k.rests_until_ms - now_ms);
    return std::pair(wait, wait == 0 && !k.configured);
  };
  for (const Known& k : known_) {
    if (tried.contains(k.server)) continue;
    if (!best.empty() && rank(k) < rank(*best[0])) best.clear();
    if (best.empty() || rank(k) == rank(*best[0])) best.push_back(&k);
  }
  if (best.empty()) return std::nullopt;
  const Known& k = *best[random_.below(best.size())];
  const int64_t wait = rank(k).first;
  if (!in_use_ && wait == 0) in_use_ = k.server;
  return Choice{k.server, wait};
}

void Servers::worked(const Server& server) {
  Known* k = find(server);
  if (!k) return;
  k->back_off_ms = k->rests_until_ms = 0;
  if (!in_use_) in_use_ = server;
}

void Servers::failed(const Server& server, int64_t now_ms) {
  if (in_use_ == server) in_use_.reset();
  Known* k = find(server);
  if (!k || k->rests_until_ms > now_ms) return;
  k->back_off_ms = std::clamp(k->back_off_ms * 2, kFirstRestMs, kLongestRestMs);
  const auto half = k->back_off_ms / 2;
  k->rests_until_ms = now_ms + half + static_cast<int64_t>(random_.below(static_cast<uint64_t>(half) + 1));
}

}  // namespace limpet::client

#include "controllers/work_queue.h"

#include <algorithm>

namespace limpet::controllers {
namespace {

constexpr int64_t kFirstMs = 5, kLongestMs = 1'000'000;
constexpr int kMostDoublings = 18;  // beyond the longest anyway
constexpr int64_t kEveryMs = 100, kBurst = 100;

}  // namespace

void WorkQueue::add(const std::string& key) {
  waiting_.erase(key);
  if (in_hand_.contains(key)) {
    again_.insert(key);
  } else if (queued_.insert(key).second) {
    ready_.push_back(key);
  }
}

void WorkQueue::add_at(const std::string& key, int64_t at_ms) {
  if (queued_.contains(key)) return;
  const auto [it, fresh] = waiting_.try_emplace(key, at_ms);
  if (!fresh) it->second = std::min(it->second, at_ms);
}

void WorkQueue::retry(const std::string& key, int64_t now_ms) {
  int& count = failures_[key];
  const int64_t own = std::min(kFirstMs << std::min(count, kMostDoublings), kLongestMs);
  count++;
  // A bucket that fills at its rate: it is never emptier than the burst allows.
  bucket_ms_ = std::max(bucket_ms_, now_ms - kEveryMs * kBurst) + kEveryMs;
  add_at(key, std::max(now_ms + own, bucket_ms_));
}

int WorkQueue::failures(const std::string& key) const {
  const auto it = failures_.find(key);
  return it == failures_.end() ? 0 : it->second;
}

void WorkQueue::move_due(int64_t now_ms) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second > now_ms) {
      ++it;
      continue;
    }
    const std::string key = it->first;
    it = waiting_.erase(it);
    add(key);
  }
}

std::optional<std::string> WorkQueue::take(int64_t now_ms) {
  move_due(now_ms);
  if (ready_.empty()) return std::nullopt;
  std::string key = std::move(ready_.front());
  ready_.pop_front();
  queued_.erase(key);
  in_hand_.insert(key);
  return key;
}

void WorkQueue::done(const std::string& key) {
  in_hand_.erase(key);
  if (again_.erase(key) > 0) add(key);
}

std::optional<int64_t> WorkQueue::next_ms() const {
  std::optional<int64_t> soonest;
  for (const auto& [key, at] : waiting_) soonest = std::min(soonest.value_or(at), at);
  return soonest;
}

}  // namespace limpet::controllers

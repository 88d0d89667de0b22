#include "store/index.h"

#include "base/assert.h"
#include "store/hash.h"

namespace limpet::store {

uint64_t state_term(std::string_view key, RowId id, Revision created, uint32_t size) {
  uint64_t h = hash64(key, static_cast<uint64_t>(id));
  const uint64_t rest[2] = {static_cast<uint64_t>(created), size};
  for (const uint64_t v : rest) h = (h ^ v) * 0x9E3779B185EBCA87u, h ^= h >> 29;
  return h;
}

const Slot* Index::find(std::string_view key) const {
  const auto it = map_.find(key);
  return it == map_.end() ? nullptr : &it->second;
}

void Index::put(std::string_view key, RowId id, Revision created, uint32_t size, SharedBytes value) {
  // Keys arrive in order while loading: the end is the right hint then, and costs nothing otherwise.
  const auto it = map_.try_emplace(map_.end(), std::string(key));
  Slot& slot = it->second;
  if (slot.key) {
    state_ ^= state_term(key, slot.id, slot.created, slot.size);
    bytes_ -= key.size() + slot.size;
    unlink(slot);
  }
  bytes_ += key.size() + size;
  slot.key = &it->first;
  slot.id = id;
  slot.created = created;
  slot.size = size;
  state_ ^= state_term(key, id, created, size);
  if (value) link(slot, std::move(value));
  shrink();
}

void Index::erase(std::string_view key) {
  const auto it = map_.find(key);
  LIMPET_ASSERT(it != map_.end());
  state_ ^= state_term(key, it->second.id, it->second.created, it->second.size);
  bytes_ -= key.size() + it->second.size;
  unlink(it->second);
  map_.erase(it);
}

SharedBytes Index::use(const Slot& slot) {
  if (!slot.value || &slot == hottest_) return slot.value;
  Slot& s = const_cast<Slot&>(slot);  // all slots are ours
  SharedBytes value = s.value;
  unlink(s);
  link(s, value);
  return value;
}

void Index::fill(std::string_view key, RowId id, const SharedBytes& value, bool only_if_room) {
  const auto it = map_.find(key);
  if (it == map_.end() || it->second.id != id || it->second.value) return;
  if (only_if_room && cached_ + cost(value) > limit_) return;
  link(it->second, value);
  shrink();
}

int64_t Index::count(std::string_view prefix) const {
  int64_t n = 0;
  for (auto it = map_.lower_bound(prefix); it != map_.end() && it->first.starts_with(prefix); ++it) ++n;
  return n;
}

void Index::link(Slot& slot, SharedBytes value) {
  slot.value = std::move(value);
  cached_ += cost(slot.value);
  slot.colder = hottest_;
  slot.hotter = nullptr;
  (hottest_ ? hottest_->hotter : coldest_) = &slot;
  hottest_ = &slot;
}

void Index::unlink(Slot& slot) {
  if (!slot.value) return;
  cached_ -= cost(slot.value);
  slot.value.reset();
  (slot.colder ? slot.colder->hotter : coldest_) = slot.hotter;
  (slot.hotter ? slot.hotter->colder : hottest_) = slot.colder;
  slot.colder = slot.hotter = nullptr;
}

void Index::shrink() {
  while (cached_ > limit_ && coldest_) unlink(*coldest_);
}

std::string after_prefix(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

}  // namespace limpet::store

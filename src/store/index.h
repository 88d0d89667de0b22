// The current keys in memory, ordered, with as many of their values as the budget allows.
//
// Owned by the durable space, on the loop's thread. Values are shared and immutable; the coldest are let go
// first and come back from the file. Also keeps the state hash: the XOR of a hash of each current key with
// its revision, which every replica with the same applied index agrees on, and which tells at opening that no
// key was lost or altered.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "store/store.h"

namespace limpet::store {

// A row's id is its revision and its place in the transaction, so that ids grow with time.
using RowId = int64_t;
constexpr int kRowBits = 16;
constexpr Revision revision_of(RowId id) { return id >> kRowBits; }
constexpr RowId row_id(Revision revision, size_t place) {
  return static_cast<RowId>((static_cast<uint64_t>(revision) << kRowBits) | place);
}

struct Slot {
  RowId id = 0;
  Revision created = 0;
  uint32_t size = 0;
  SharedBytes value;  // null: only in the file
  const std::string* key = nullptr;
  Slot* colder = nullptr;  // while value is set
  Slot* hotter = nullptr;
};

uint64_t state_term(std::string_view key, RowId id, Revision created, uint32_t size);

class Index {
 public:
  using Map = std::map<std::string, Slot, std::less<>>;

  explicit Index(size_t cache_limit) : limit_(cache_limit) {}
  Index(const Index&) = delete;

  const Slot* find(std::string_view key) const;
  void put(std::string_view key, RowId id, Revision created, uint32_t size, SharedBytes value);
  void erase(std::string_view key);
  SharedBytes use(const Slot& slot);  // its value, now the hottest; null when not in memory
  // A value read from the file, kept if the key still has this row. A list fills only free room, so that
  // reading everything once does not push out what is in use.
  void fill(std::string_view key, RowId id, const SharedBytes& value, bool only_if_room);

  const Map& map() const { return map_; }
  uint64_t state() const { return state_; }
  size_t cached_bytes() const { return cached_; }
  uint64_t bytes() const { return bytes_; }  // of all keys and values, also those only in the file
  int64_t count(std::string_view prefix) const;

 private:
  void link(Slot& slot, SharedBytes value);
  void unlink(Slot& slot);
  void shrink();
  static size_t cost(const SharedBytes& value) { return value->size() + 64; }

  Map map_;
  Slot* coldest_ = nullptr;
  Slot* hottest_ = nullptr;
  size_t limit_;
  size_t cached_ = 0;
  uint64_t bytes_ = 0;
  uint64_t state_ = 0;
};

// The first key after all keys with this prefix; empty: none.
std::string after_prefix(std::string_view prefix);

}  // namespace limpet::store

#include "store/hash.h"

#include <bit>
#include <cstring>

namespace limpet::store {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87u;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4Fu;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9u;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63u;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5u;

uint64_t load64(const char* p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::big ? __builtin_bswap64(v) : v;
}

uint32_t load32(const char* p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::big ? __builtin_bswap32(v) : v;
}

uint64_t round_of(uint64_t acc, uint64_t lane) { return std::rotl(acc + lane * kPrime2, 31) * kPrime1; }

uint64_t merge(uint64_t acc, uint64_t lane) { return (acc ^ round_of(0, lane)) * kPrime1 + kPrime4; }

// Consumes the stripes of 32 bytes and returns the state before the tail is mixed in.
uint64_t stripes(const char*& p, const char* end, uint64_t seed) {
  uint64_t a = seed + kPrime1 + kPrime2, b = seed + kPrime2, c = seed, d = seed - kPrime1;
  for (; end - p >= 32; p += 32) {
    a = round_of(a, load64(p));
    b = round_of(b, load64(p + 8));
    c = round_of(c, load64(p + 16));
    d = round_of(d, load64(p + 24));
  }
  uint64_t h = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
  h = merge(h, a);
  h = merge(h, b);
  h = merge(h, c);
  return merge(h, d);
}

}  // namespace

uint64_t hash64(std::string_view bytes, uint64_t seed) {
  const char* p = bytes.data();
  const char* end = p + bytes.size();
  uint64_t h = bytes.size() >= 32 ? stripes(p, end, seed) : seed + kPrime5;
  h += bytes.size();
  for (; end - p >= 8; p += 8) h = std::rotl(h ^ round_of(0, load64(p)), 27) * kPrime1 + kPrime4;
  if (end - p >= 4) {
    h = std::rotl(h ^ (load32(p) * kPrime1), 23) * kPrime2 + kPrime3;
    p += 4;
  }
  for (; p != end; ++p) h = std::rotl(h ^ (static_cast<uint8_t>(*p) * kPrime5), 11) * kPrime1;
  h ^= h >> 33;
  h *= kPrime2;
  h ^= h >> 29;
  h *= kPrime3;
  return h ^ (h >> 32);
}

uint64_t row_sum(int64_t id, std::string_view key, int64_t created, int64_t previous, int64_t index,
                 int64_t time, uint64_t state, std::string_view stored) {
  const int64_t numbers[] = {
      id, created, previous, index, time, static_cast<int64_t>(state), static_cast<int64_t>(key.size())};
  uint64_t h = 0;
  for (const int64_t n : numbers) h = (h ^ static_cast<uint64_t>(n)) * kPrime1, h ^= h >> 32;
  return hash64(stored, hash64(key, h));
}

}  // namespace limpet::store

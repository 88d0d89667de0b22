#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/bytes.h"

namespace limpet {

uint64_t Random::u64() {
  uint64_t v = 0;
  fill(&v, sizeof v);
  return v;
}

uint64_t Random::below(uint64_t bound) {
  LIMPET_ASSERT(bound > 0);
  // Values of the last, incomplete run would favour small results: draw again.
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t v = u64();
  while (v >= limit) v = u64();
  return v % bound;
}

std::string Random::uuid() {
  unsigned char b[16];
  fill(b, sizeof b);
  b[6] = static_cast<unsigned char>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3f) | 0x80);
  std::string s = hex({reinterpret_cast<const char*>(b), sizeof b});
  for (size_t at : {8u, 13u, 18u, 23u}) s.insert(at, "-");
  return s;
}

std::string Random::suffix(size_t n) {
  static constexpr char kAlphabet[] = "bcdfghjklmnpqrstvwxz2456789";
  std::string s;
  for (size_t i = 0; i < n; i++) s += kAlphabet[below(sizeof kAlphabet - 1)];
  return s;
}

void SystemRandom::fill(void* out, size_t size) {
  auto* p = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t n = getrandom(p, size, 0);
    if (n < 0) {
      LIMPET_ASSERT(errno == EINTR);
      continue;
    }
    p += n;
    size -= static_cast<size_t>(n);
  }
}

void SeededRandom::fill(void* out, size_t size) {
  auto* p = static_cast<char*>(out);
  while (size > 0) {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    const size_t n = size < sizeof z ? size : sizeof z;
    memcpy(p, &z, n);
    p += n;
    size -= n;
  }
}

}  // namespace limpet

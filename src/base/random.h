// Randomness comes in through this interface: pure cores and simulations get a seeded one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace limpet {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(void* out, size_t size) = 0;

  uint64_t u64();
  uint64_t below(uint64_t bound);  // uniform in [0, bound), bound > 0
  std::string uuid();              // RFC 9562 version 4
  // n characters of the alphabet Kubernetes uses for generated names (no vowels, no look-alikes).
  std::string suffix(size_t n);
};

class SystemRandom final : public Random {  // getrandom(2)
 public:
  void fill(void* out, size_t size) override;
};

class SeededRandom final : public Random {  // splitmix64; never for keys
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  void fill(void* out, size_t size) override;

 private:
  uint64_t state_;
};

}  // namespace limpet

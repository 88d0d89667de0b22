// A 64-bit non-cryptographic hash (XXH64 of the xxHash specification, seed 0), for row checksums and the
// state hash.
#pragma once

#include <cstdint>
#include <string_view>

namespace limpet::store {

uint64_t hash64(std::string_view bytes, uint64_t seed = 0);

// Of everything that a row of the file says; a deletion and an empty value differ by the format byte.
uint64_t row_sum(int64_t id, std::string_view key, int64_t created, int64_t previous, int64_t index,
                 int64_t time, uint64_t state, std::string_view stored);

}  // namespace limpet::store

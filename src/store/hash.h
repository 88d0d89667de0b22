// A 64-bit non-cryptographic hash (XXH64 of the xxHash specification, seed 0), for row checksums and the
// state hash.
#pragma once

#include <cstdint>
#include <string_view>

namespace limpet::store {

uint64_t hash64(std::string_view bytes, uint64_t seed = 0);

}  // namespace limpet::store

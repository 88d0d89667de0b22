// The keys that every server holds, and how they stand in the store so that a copy of it opens nothing:
// sealed with the cluster's data key, which is wrapped for each server's device key. Pure but for randomness.
//
//   limpet/keys/ca                   sealed: the authority (authority.h)
//   limpet/keys/sa                   sealed: the keys of service-account tokens (signing.h)
//   limpet/data-key/GENERATION/NODE  the data key, wrapped (pki/wrap.h) for the device key of that server
//
// A sealed value is: format byte 1, varint generation of the data key, sealed bytes (pki/seal.h). Where a
// value stands is authenticated with it, the wraps' path with generation and node included. Generations begin
// at 1 and rise by one: a server that left knows the old data key and cannot open what was sealed later.
// Errors: `corrupt` when it does not open; it never means that something else is to be made in its place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "pki/key.h"
#include "pki/seal.h"

namespace limpet::cluster {

constexpr std::string_view keys_prefix = "limpet/keys/";
constexpr std::string_view wraps_prefix = "limpet/data-key/";
constexpr std::string_view authority_path = "limpet/keys/ca";
constexpr std::string_view signing_path = "limpet/keys/sa";
constexpr size_t max_sealed = 64 * 1024;

struct DataKey {
  uint64_t generation = 0;
  pki::SealKey key{};
};

DataKey make_data_key(uint64_t generation, Random& random);

std::string data_key_path(uint64_t generation, std::string_view node);
// spki: of the server's device key.
Result<std::string> wrap_data_key(const DataKey& key, std::string_view node, std::string_view spki,
                                  Random& random);
Result<DataKey> unwrap_data_key(uint64_t generation, std::string_view node, std::string_view wrapped,
                                const pki::PrivateKey& device, Random& random);

Result<std::string> seal_value(const DataKey& key, std::string_view path, std::string_view plain,
                               Random& random);
// Which data key opens it.
Result<uint64_t> sealed_generation(std::string_view sealed);
Result<std::string> open_value(const DataKey& key, std::string_view path, std::string_view sealed);

// ---- another data key ----

struct KeyHolder {
  std::string node;
  std::string spki;
};
struct SealedValue {
  std::string path;
  std::string bytes;
};
// What one transaction is to write: the new wraps and values, and the wraps of before that go. It has to fail
// when one of `sealed` changed meanwhile.
struct DataKeyRotation {
  DataKey key;
  std::vector<SealedValue> put;
  std::vector<std::string> erase;
};
// A new generation for those who stay. `held_by`: who has a wrap of the old one. `sealed`: every sealed
// value.
Result<DataKeyRotation> rotate_data_key(const DataKey& old, const std::vector<std::string>& held_by,
                                        const std::vector<KeyHolder>& staying,
                                        const std::vector<SealedValue>& sealed, Random& random);

}  // namespace limpet::cluster

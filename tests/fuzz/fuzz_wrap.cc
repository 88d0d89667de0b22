// Any bytes as a wrapped data key and as a sealed value: refused with a reason, never opened; and whatever is
// wrapped and sealed comes back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cluster/keys.h"
#include "pki/wrap.h"

using namespace limpet;
using namespace limpet::cluster;

namespace {

// The same in every run, so that the corpus opens.
struct World {
  SeededRandom random{1};
  pki::PrivateKey key = std::move(*pki::PrivateKey::generate(random));
  pki::PublicKey half = std::move(*key.public_key());
  DataKey data_key = make_data_key(1, random);
};

void check_back(World& world, const std::string& plain) {
  const auto wrapped = pki::wrap(world.half, plain, "here", world.random);
  if (!wrapped) abort();
  const auto opened = pki::unwrap(world.key, *wrapped, "here", world.random);
  if (!opened || *opened != plain) abort();
  if (pki::unwrap(world.key, *wrapped, "there", world.random)) abort();
  const auto sealed = seal_value(world.data_key, "here", plain, world.random);
  const auto unsealed = open_value(world.data_key, "here", *sealed);
  if (!unsealed || *unsealed != plain) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto key = unwrap_data_key(1, "a", bytes, world.key, world.random);
  if (!key && key.error().message.empty()) abort();
  if (key && key->key != world.data_key.key) abort();  // only the corpus has it
  const auto value = open_value(world.data_key, authority_path, bytes);
  if (!value && value.error().message.empty()) abort();
  (void)sealed_generation(bytes).has_value();
  if (size <= 1024) check_back(world, bytes);
  return 0;
}

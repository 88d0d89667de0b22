#include "cluster/keys.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "support.h"

using namespace limpet;
using namespace limpet::cluster;
using limpet::cluster_test::error_of;

TEST_CASE("the data key opens for the server that it was wrapped for") {
  SystemRandom random;
  const pki::PrivateKey one = pki::PrivateKey::generate(random).value();
  const pki::PrivateKey two = pki::PrivateKey::generate(random).value();
  const DataKey key = make_data_key(3, random);
  CHECK(data_key_path(3, "one") == "limpet/data-key/3/one");
  const std::string wrapped = wrap_data_key(key, "one", one.spki(), random).value();
  const DataKey back = unwrap_data_key(3, "one", wrapped, one, random).value();
  CHECK(back.generation == 3);
  CHECK(back.key == key.key);
  const std::string no =
      "corrupt: limpet/data-key/3/one: wrapped key does not open with this device's key at this place";
  CHECK(error_of(unwrap_data_key(3, "one", wrapped, two, random)) == no);
  CHECK_FALSE(unwrap_data_key(4, "one", wrapped, one, random));
  CHECK_FALSE(unwrap_data_key(3, "two", wrapped, one, random));
  CHECK_FALSE(unwrap_data_key(3, "one", "", one, random));
  CHECK_FALSE(wrap_data_key(key, "one", "no key", random));
}

TEST_CASE("a sealed value opens with its data key at its place") {
  SystemRandom random;
  const DataKey key = make_data_key(300, random);
  const std::string sealed = seal_value(key, authority_path, "secret", random).value();
  CHECK(sealed_generation(sealed).value() == 300);
  CHECK(open_value(key, authority_path, sealed).value() == "secret");
  CHECK(error_of(open_value(key, signing_path, sealed)) ==
        "corrupt: limpet/keys/sa does not open with the cluster's data key");
  DataKey other = make_data_key(300, random);
  CHECK_FALSE(open_value(other, authority_path, sealed));
  other.generation = 299;
  CHECK(error_of(open_value(other, authority_path, sealed)) ==
        "corrupt: limpet/keys/ca: sealed with data key 300, and this is 299");
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string bent = sealed;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    CHECK_FALSE(open_value(key, authority_path, bent));
    CHECK_FALSE(open_value(key, authority_path, sealed.substr(0, i)));
  }
  std::string newer = sealed;
  newer[0] = 2;
  CHECK(sealed_generation(newer).error().code == Errc::unsupported);
  CHECK(sealed_generation("").error().code == Errc::corrupt);
  CHECK(sealed_generation(std::string("\1\0", 2)).error().code == Errc::corrupt);
  CHECK_FALSE(seal_value(key, authority_path, std::string(max_sealed, 'x'), random));
  CHECK_FALSE(open_value(key, authority_path, std::string(max_sealed + 1, '\1')));
}

TEST_CASE("another data key: for those who stay, and the one who left opens nothing of it") {
  SystemRandom random;
  const pki::PrivateKey one = pki::PrivateKey::generate(random).value();
  const pki::PrivateKey two = pki::PrivateKey::generate(random).value();
  const pki::PrivateKey gone = pki::PrivateKey::generate(random).value();
  const DataKey old = make_data_key(7, random);
  const std::vector<SealedValue> sealed = {
      {std::string(authority_path), seal_value(old, authority_path, "ca", random).value()},
      {std::string(signing_path), seal_value(old, signing_path, "sa", random).value()}};
  const auto rotation = rotate_data_key(old, {"gone", "one", "two"},
                                        {{"one", one.spki()}, {"two", two.spki()}}, sealed, random);
  REQUIRE_MESSAGE(rotation, rotation.error().message);
  CHECK(rotation->key.generation == 8);
  CHECK(rotation->key.key != old.key);
  CHECK(rotation->erase ==
        std::vector<std::string>{"limpet/data-key/7/gone", "limpet/data-key/7/one", "limpet/data-key/7/two"});
  REQUIRE(rotation->put.size() == 4);
  const auto value = [&](const std::string& path) {
    const auto it = std::find_if(rotation->put.begin(), rotation->put.end(),
                                 [&](const SealedValue& v) { return v.path == path; });
    REQUIRE(it != rotation->put.end());
    return it->bytes;
  };
  for (const auto& [node, key] :
       {std::pair<std::string, const pki::PrivateKey*>{"one", &one}, {"two", &two}}) {
    const DataKey mine = unwrap_data_key(8, node, value("limpet/data-key/8/" + node), *key, random).value();
    CHECK(open_value(mine, authority_path, value("limpet/keys/ca")).value() == "ca");
    CHECK(open_value(mine, signing_path, value("limpet/keys/sa")).value() == "sa");
    CHECK_FALSE(unwrap_data_key(8, node, value("limpet/data-key/8/" + node), gone, random));
  }
  CHECK_FALSE(open_value(old, authority_path, value("limpet/keys/ca")));
  CHECK_FALSE(rotate_data_key(old, {"one"}, {}, sealed, random));
  // What does not open with the old one is not lost silently.
  CHECK_FALSE(rotate_data_key(make_data_key(7, random), {"one"}, {{"one", one.spki()}}, sealed, random));
}

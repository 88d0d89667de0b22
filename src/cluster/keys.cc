#include "cluster/keys.h"

#include <algorithm>

#include "base/varint.h"
#include "pki/wrap.h"

namespace limpet::cluster {

namespace {

constexpr uint8_t format_version = 1;

struct Header {
  uint64_t generation = 0;
  std::string_view sealed;
};

Result<Header> read_header(std::string_view bytes) {
  if (bytes.size() > max_sealed) return fail(Errc::corrupt, strf("a sealed key of %zu bytes", bytes.size()));
  ByteReader in(bytes);
  const uint8_t version = in.byte();
  Header out;
  out.generation = in.varint();
  if (!in.ok() || out.generation == 0) return fail(Errc::corrupt, "a sealed key is damaged");
  if (version != format_version)
    return fail(Errc::unsupported, strf("a sealed key of a newer limpet (format %d)", version));
  out.sealed = bytes.substr(bytes.size() - in.left());
  return out;
}

std::string context(std::string_view path, uint64_t generation) {
  return std::string(path) + strf("#%llu", static_cast<unsigned long long>(generation));
}

}  // namespace

DataKey make_data_key(uint64_t generation, Random& random) {
  DataKey out;
  out.generation = generation;
  random.fill(out.key.data(), out.key.size());
  return out;
}

std::string data_key_path(uint64_t generation, std::string_view node) {
  return std::string(wraps_prefix) + std::to_string(generation) + "/" + std::string(node);
}

Result<std::string> wrap_data_key(const DataKey& key, std::string_view node, std::string_view spki,
                                  Random& random) {
  TRY(const pki::PublicKey recipient, pki::PublicKey::from_der(spki));
  const std::string_view plain(reinterpret_cast<const char*>(key.key.data()), key.key.size());
  return pki::wrap(recipient, plain, data_key_path(key.generation, node), random);
}

Result<DataKey> unwrap_data_key(uint64_t generation, std::string_view node, std::string_view wrapped,
                                const pki::PrivateKey& device, Random& random) {
  const std::string path = data_key_path(generation, node);
  Result<std::string> plain = pki::unwrap(device, wrapped, path, random);
  if (!plain) return std::unexpected(std::move(plain).error().with(path));
  DataKey out;
  if (plain->size() != out.key.size()) return fail(Errc::corrupt, path + ": no data key");
  out.generation = generation;
  std::copy(plain->begin(), plain->end(), out.key.begin());
  return out;
}

Result<std::string> seal_value(const DataKey& key, std::string_view path, std::string_view plain,
                               Random& random) {
  std::string out(1, static_cast<char>(format_version));
  put_varint(out, key.generation);
  TRY(const std::string sealed, pki::seal(key.key, plain, context(path, key.generation), random));
  out += sealed;
  if (out.size() > max_sealed) return fail(Errc::too_large, std::string(path) + " is too large to be sealed");
  return out;
}

Result<uint64_t> sealed_generation(std::string_view sealed) {
  TRY(const Header header, read_header(sealed));
  return header.generation;
}

Result<std::string> open_value(const DataKey& key, std::string_view path, std::string_view sealed) {
  Result<Header> header = read_header(sealed);
  if (!header) return std::unexpected(std::move(header).error().with(path));
  if (header->generation != key.generation) {
    return fail(Errc::corrupt, std::string(path) + strf(": sealed with data key %llu, and this is %llu",
                                                        static_cast<unsigned long long>(header->generation),
                                                        static_cast<unsigned long long>(key.generation)));
  }
  Result<std::string> plain = pki::open_sealed(key.key, header->sealed, context(path, key.generation));
  if (!plain) return fail(Errc::corrupt, std::string(path) + " does not open with the cluster's data key");
  return plain;
}

Result<DataKeyRotation> rotate_data_key(const DataKey& old, const std::vector<std::string>& held_by,
                                        const std::vector<KeyHolder>& staying,
                                        const std::vector<SealedValue>& sealed, Random& random) {
  if (staying.empty()) return fail(Errc::invalid_argument, "nobody would hold the data key");
  DataKeyRotation out;
  out.key = make_data_key(old.generation + 1, random);
  for (const KeyHolder& one : staying) {
    TRY(std::string wrapped, wrap_data_key(out.key, one.node, one.spki, random));
    out.put.push_back({data_key_path(out.key.generation, one.node), std::move(wrapped)});
  }
  for (const SealedValue& one : sealed) {
    TRY(const std::string plain, open_value(old, one.path, one.bytes));
    TRY(std::string bytes, seal_value(out.key, one.path, plain, random));
    out.put.push_back({one.path, std::move(bytes)});
  }
  for (const std::string& node : held_by) out.erase.push_back(data_key_path(old.generation, node));
  return out;
}

}  // namespace limpet::cluster

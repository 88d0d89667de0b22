// The head of a backup file: what it is of, in clear, and the key to the rest, sealed for who may have it.
//
// A backup file is this head, then the records (records.h) as one sealed stream (pki/stream_seal.h) under a
// key made for this file alone. Shape of the head, version 1:
//
//   "limpet backup\n"  14 bytes
//   version            1 byte
//   length             2 bytes, big-endian: of what follows of the head
//   kind               1 byte: 1 passphrase, 2 recipient
//   flags              1 byte: 1 made by the schedule
//   cluster            16 bytes
//   time, revision     varints: seconds since 1970, of the state
//   passphrase:        varint iterations, 16 bytes of salt      (PBKDF2, pki/pbkdf2.h)
//   recipient:         32 bytes: SHA-256 of its SubjectPublicKeyInfo
//   the file's key     varint length and bytes: sealed (pki/seal.h) or wrapped (pki/wrap.h)
//
// Everything before the file's key is its context: a head that was altered does not give the key away. The
// length is what a reader needs to come to the stream, and is authenticated likewise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"
#include "pki/key.h"
#include "pki/seal.h"

namespace limpet::backup {

constexpr size_t head_start = 14 + 1 + 2;  // up to the length
constexpr size_t max_head = 1024;
constexpr size_t least_passphrase = 8;  // bytes
constexpr size_t most_passphrase = 4096;
constexpr uint32_t most_iterations = 10'000'000;  // that a reader does for a file

// What anybody can read of a file; proven genuine only with its key.
struct Label {
  std::string cluster;  // 16 bytes
  int64_t time = 0;     // seconds since 1970
  int64_t revision = 0;
  bool scheduled = false;
  bool operator==(const Label&) const = default;
};

enum class Kind : uint8_t { passphrase = 1, recipient = 2 };

struct Header {
  Label label;
  Kind kind = Kind::passphrase;
  uint32_t iterations = 0;  // passphrase
  std::string salt;         // passphrase, 16 bytes
  std::string recipient;    // recipient, 32 bytes
  std::string wrapped;      // the file's key
  std::string context;      // the bytes before it
};

// A head and the key of the stream behind it.
struct Head {
  std::string bytes;
  pki::SealKey key{};
};
Result<Head> make_head(const Label& label, std::string_view passphrase, uint32_t iterations, Random& random);
Result<Head> make_head(const Label& label, const pki::PublicKey& recipient, Random& random);

// The size of the head that begins with these bytes, head_start or more of them. Errors: corrupt (no backup
// of limpet), unsupported (of a newer one).
Result<size_t> head_size(std::string_view start);
// Exactly one head. Errors as head_size; corrupt: altered.
Result<Header> read_head(std::string_view bytes);

// The file's key. unauthenticated: not by this passphrase or key, or the head was altered.
// permission_denied: the file is not for it.
Result<pki::SealKey> open_head(const Header& header, std::string_view passphrase);
Result<pki::SealKey> open_head(const Header& header, const pki::PrivateKey& key, Random& random);

// What tells a recipient from others: SHA-256 of its public key, in hexadecimal.
std::string fingerprint(std::string_view spki);

}  // namespace limpet::backup

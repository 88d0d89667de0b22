#include "backup/header.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/varint.h"
#include "pki/pbkdf2.h"
#include "pki/wrap.h"

namespace limpet::backup {
namespace {

constexpr std::string_view magic = "limpet backup\n";
constexpr uint8_t version = 1;
constexpr size_t cluster_bytes = 16, salt_bytes = 16, hash_bytes = 32, key_bytes = 32;
constexpr size_t sealed_key = key_bytes + pki::seal_overhead;
constexpr size_t wrapped_key = 1 + 64 + sealed_key;
constexpr uint8_t flag_scheduled = 1;

std::unexpected<Error> altered(const char* what) {
  return fail(Errc::corrupt, strf("its head is damaged: %s", what));
}

// The head up to the file's key, whose size is known before it is made.
std::string context_of(const Label& label, Kind kind, std::string_view own, size_t wrapped) {
  std::string body;
  body.push_back(static_cast<char>(kind));
  body.push_back(static_cast<char>(label.scheduled ? flag_scheduled : 0));
  body += label.cluster;
  put_varint(body, static_cast<uint64_t>(label.time));
  put_varint(body, static_cast<uint64_t>(label.revision));
  body += own;
  std::string tail;
  put_varint(tail, wrapped);
  const size_t size = body.size() + tail.size() + wrapped;
  std::string out(magic);
  out.push_back(static_cast<char>(version));
  out.push_back(static_cast<char>(size >> 8));
  out.push_back(static_cast<char>(size));
  return out + body;
}

Result<> check(const Label& label) {
  if (label.cluster.size() != cluster_bytes || label.time < 0 || label.revision < 0)
    return fail(Errc::invalid_argument, "a backup needs a cluster, a time and a revision");
  return {};
}

void make_key(Head& head, Random& random) { random.fill(head.key.data(), head.key.size()); }

std::string_view view(const pki::SealKey& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

Result<pki::SealKey> as_key(const std::string& bytes) {
  pki::SealKey key;
  if (bytes.size() != key.size()) return altered("its key has another size");
  std::copy(bytes.begin(), bytes.end(), key.begin());
  return key;
}

std::string_view take(std::string_view& in, size_t n) {
  const std::string_view out = in.substr(0, n);
  in.remove_prefix(out.size());
  return out;
}

bool read_number(std::string_view& in, uint64_t most, uint64_t& out) {
  ByteReader reader(in);
  out = reader.varint();
  in.remove_prefix(in.size() - reader.left());
  return reader.ok() && out <= most;
}

}  // namespace

std::string fingerprint(std::string_view spki) { return sha256_hex(spki); }

Result<Head> make_head(const Label& label, std::string_view passphrase, uint32_t iterations, Random& random) {
  CHECK_OK(check(label));
  if (iterations == 0 || iterations > most_iterations)
    return fail(Errc::invalid_argument, strf("1 to %u iterations are wanted", most_iterations));
  std::string salt(salt_bytes, '\0');
  random.fill(salt.data(), salt.size());
  std::string own;
  put_varint(own, iterations);
  own += salt;
  Head head;
  make_key(head, random);
  head.bytes = context_of(label, Kind::passphrase, own, sealed_key);
  TRY(const pki::SealKey by, pki::pbkdf2_sha512(passphrase, salt, iterations));
  TRY(const std::string sealed, pki::seal(by, view(head.key), head.bytes, random));
  put_bytes(head.bytes, sealed);
  return head;
}

Result<Head> make_head(const Label& label, const pki::PublicKey& recipient, Random& random) {
  CHECK_OK(check(label));
  Head head;
  make_key(head, random);
  head.bytes = context_of(label, Kind::recipient, sha256_raw(recipient.spki()), wrapped_key);
  TRY(const std::string wrapped, pki::wrap(recipient, view(head.key), head.bytes, random));
  put_bytes(head.bytes, wrapped);
  return head;
}

Result<size_t> head_size(std::string_view start) {
  if (!start.starts_with(magic)) return fail(Errc::corrupt, "it is no backup of limpet");
  if (start.size() < head_start) return fail(Errc::corrupt, "it was cut in its head");
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(start[at]); };
  if (byte(magic.size()) != version) {
    if (byte(magic.size()) == 0) return altered("a version of 0");
    return fail(Errc::unsupported,
                strf("it has format %d, this limpet knows %d: it was made by a newer limpet",
                     byte(magic.size()), version));
  }
  const size_t size = head_start + (size_t{byte(head_start - 2)} << 8 | byte(head_start - 1));
  if (size > max_head) return altered("its length");
  return size;
}

Result<Header> read_head(std::string_view bytes) {
  TRY(const size_t size, head_size(bytes));
  if (bytes.size() != size) return fail(Errc::corrupt, "it was cut in its head");
  std::string_view in = bytes.substr(head_start);
  if (in.size() < 2 + cluster_bytes) return altered("its length");
  Header out;
  const auto kind = static_cast<uint8_t>(in[0]), flags = static_cast<uint8_t>(in[1]);
  if (kind < 1 || kind > 2) return altered("an unknown kind of key");
  if (flags > flag_scheduled) return altered("unknown flags");
  out.kind = static_cast<Kind>(kind);
  out.label.scheduled = flags & flag_scheduled;
  in.remove_prefix(2);
  out.label.cluster = take(in, cluster_bytes);
  uint64_t time = 0, revision = 0, iterations = 0;
  if (!read_number(in, INT64_MAX, time) || !read_number(in, INT64_MAX, revision))
    return altered("its time or revision");
  out.label.time = static_cast<int64_t>(time);
  out.label.revision = static_cast<int64_t>(revision);
  if (out.kind == Kind::passphrase) {
    if (!read_number(in, most_iterations, iterations) || iterations == 0) return altered("its iterations");
    out.iterations = static_cast<uint32_t>(iterations);
    out.salt = take(in, salt_bytes);
  } else {
    out.recipient = take(in, hash_bytes);
  }
  out.context = bytes.substr(0, bytes.size() - in.size());
  ByteReader rest(in);
  out.wrapped = rest.bytes(max_head);
  if (!rest.ok() || !rest.at_end()) return altered("its length");
  if (out.wrapped.size() != (out.kind == Kind::passphrase ? sealed_key : wrapped_key))
    return altered("its key has another size");
  return out;
}

Result<pki::SealKey> open_head(const Header& header, std::string_view passphrase) {
  if (header.kind != Kind::passphrase)
    return fail(Errc::permission_denied, "it was made for a recipient, not with a passphrase");
  TRY(const pki::SealKey by, pki::pbkdf2_sha512(passphrase, header.salt, header.iterations));
  const auto key = pki::open_sealed(by, header.wrapped, header.context);
  if (!key)
    return fail(Errc::unauthenticated, "the passphrase is wrong, or the head of the file was altered");
  return as_key(*key);
}

Result<pki::SealKey> open_head(const Header& header, const pki::PrivateKey& own, Random& random) {
  if (header.kind != Kind::recipient)
    return fail(Errc::permission_denied, "it was made with a passphrase, not for a recipient");
  if (sha256_raw(own.spki()) != header.recipient) {
    return fail(Errc::permission_denied, strf("it was made for the recipient %s, the key is that of %s",
                                              hex(header.recipient).substr(0, 16).c_str(),
                                              fingerprint(own.spki()).substr(0, 16).c_str()));
  }
  const auto key = pki::unwrap(own, header.wrapped, header.context, random);
  if (!key) return fail(Errc::unauthenticated, "the head of the file was altered");
  return as_key(*key);
}

}  // namespace limpet::backup

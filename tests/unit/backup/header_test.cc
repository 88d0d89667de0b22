// The head of a backup file: what it gives away, and to whom.
#include "backup/header.h"

#include <doctest/doctest.h>

#include "support.h"

using namespace limpet;
using namespace limpet::backup;
using limpet::backup_test::label;

namespace {

constexpr uint32_t few = 10;  // iterations: the strength is not what is tested
const std::string passphrase = "correct horse";

struct Keys {
  SystemRandom random;
  pki::PrivateKey own = *pki::PrivateKey::generate(random), other = *pki::PrivateKey::generate(random);
};

}  // namespace

TEST_CASE("a head says its label to everybody and its key to who may have it") {
  Keys k;
  for (const Label& l : {label(), label(0, 0, true), label(INT64_MAX, INT64_MAX, true)}) {
    const Head by_phrase = *make_head(l, passphrase, few, k.random);
    const Head by_key = *make_head(l, *k.own.public_key(), k.random);
    CHECK(make_head(l, passphrase, few, k.random)->bytes != by_phrase.bytes);
    CHECK(by_phrase.key != by_key.key);
    const Header phrase = *read_head(by_phrase.bytes), key = *read_head(by_key.bytes);
    CHECK(phrase.label == l);
    CHECK(key.label == l);
    CHECK(phrase.kind == Kind::passphrase);
    CHECK(phrase.iterations == few);
    CHECK(key.kind == Kind::recipient);
    CHECK(*open_head(phrase, passphrase) == by_phrase.key);
    CHECK(*open_head(key, k.own, k.random) == by_key.key);
    CHECK(open_head(phrase, "correct horse ").error().code == Errc::unauthenticated);
    CHECK(open_head(phrase, "").error().code == Errc::unauthenticated);
    CHECK(open_head(phrase, k.own, k.random).error().code == Errc::permission_denied);
    CHECK(open_head(key, passphrase).error().code == Errc::permission_denied);
    const auto other = open_head(key, k.other, k.random);
    CHECK(other.error().code == Errc::permission_denied);
    CHECK(other.error().message.find(fingerprint(k.own.spki()).substr(0, 16)) != std::string::npos);
    CHECK(other.error().message.find(fingerprint(k.other.spki()).substr(0, 16)) != std::string::npos);
  }
}

TEST_CASE("what cannot be a head is not made") {
  SystemRandom random;
  Label bad = label();
  bad.cluster = "short";
  CHECK_FALSE(make_head(bad, passphrase, few, random));
  bad = label();
  bad.time = -1;
  CHECK_FALSE(make_head(bad, passphrase, few, random));
  CHECK_FALSE(make_head(label(), passphrase, 0, random));
  CHECK_FALSE(make_head(label(), passphrase, most_iterations + 1, random));
}

TEST_CASE("a head that was cut anywhere is an error, as is one with more behind it") {
  Keys k;
  for (const Head& head :
       {*make_head(label(), passphrase, few, k.random), *make_head(label(), *k.own.public_key(), k.random)}) {
    CHECK(*head_size(head.bytes) == head.bytes.size());
    CHECK(*head_size(std::string_view(head.bytes).substr(0, head_start)) == head.bytes.size());
    for (size_t n = 0; n < head.bytes.size(); n++) {
      const auto read = read_head(std::string_view(head.bytes).substr(0, n));
      REQUIRE_FALSE(read);
      CHECK(read.error().code == Errc::corrupt);
      CHECK_FALSE(read.error().message.empty());
    }
    CHECK_FALSE(read_head(head.bytes + "x"));
  }
}

TEST_CASE("a bit of the head that is another gives no key, and says why") {
  Keys k;
  for (const Head& head :
       {*make_head(label(), passphrase, few, k.random), *make_head(label(), *k.own.public_key(), k.random)}) {
    for (size_t bit = 0; bit < head.bytes.size() * 8; bit++) {
      std::string bent = head.bytes;
      bent[bit / 8] = static_cast<char>(bent[bit / 8] ^ (1 << bit % 8));
      auto read = read_head(bent);
      if (!read) {
        CHECK((read.error().code == Errc::corrupt || read.error().code == Errc::unsupported));
        continue;
      }
      const auto key =
          read->kind == Kind::passphrase ? open_head(*read, passphrase) : open_head(*read, k.own, k.random);
      REQUIRE_FALSE_MESSAGE(key.has_value(), "bit ", bit);
      CHECK((key.error().code == Errc::unauthenticated || key.error().code == Errc::permission_denied));
    }
  }
}

TEST_CASE("a head of a newer format names it, and one that asks for too much is refused at once") {
  SystemRandom random;
  std::string bytes = make_head(label(), passphrase, few, random)->bytes;
  bytes[14] = 2;
  const auto newer = read_head(bytes);
  CHECK(newer.error().code == Errc::unsupported);
  CHECK(newer.error().message.find("format 2, this limpet knows 1") != std::string::npos);
  CHECK(read_head("not a backup at all").error().message == "it is no backup of limpet");

  // Ten million iterations and one: a byte of the varint more, in place of the first of the salt.
  bytes[14] = 1;
  const size_t at = read_head(bytes)->context.size() - 16 - 1;
  std::string greedy = bytes;
  for (size_t i = 0; i < 4; i++) greedy[at + i] = static_cast<char>(0xff);
  greedy[at + 4] = 1;
  CHECK(read_head(greedy).error().message == "its head is damaged: its iterations");
  greedy[at] = 0;
  CHECK(read_head(greedy).error().message == "its head is damaged: its iterations");
}

// The pure parts: hash, entries, index, prefixes.
#include <doctest/doctest.h>

#include "base/random.h"
#include "harness.h"
#include "store/applier.h"
#include "store/hash.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

TEST_CASE("hash64 is XXH64") {
  // From the xxHash specification's own test values.
  CHECK(hash64("") == 0xEF46DB3751D8E999u);
  CHECK(hash64("a") == 0xD24EC4F1A98C6E5Bu);
  CHECK(hash64("abc") == 0x44BC2CF5AD770999u);
  CHECK(hash64("Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1u);
  CHECK(hash64("", 1) != hash64(""));
}

TEST_CASE("an entry comes back as it was; any change of its bytes is seen or harmless") {
  const Txn txn{
      {put("a", "value", 7), del("b", 0), put(std::string(300, 'k'), std::string(5000, 'v')), put("e", "")}};
  const auto bytes = encode_entry(txn, 1234567890);
  REQUIRE(bytes);
  const auto entry = decode_entry(*bytes);
  REQUIRE(entry);
  CHECK(entry->time == 1234567890);
  REQUIRE(entry->ops.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(entry->ops[i].key == txn.ops[i].key);
    CHECK(entry->ops[i].expect == txn.ops[i].expect);
    CHECK(entry->ops[i].type == txn.ops[i].type);
    if (txn.ops[i].type == Op::Type::put) CHECK(*from_stored(entry->ops[i].stored) == txn.ops[i].value);
  }
  for (size_t n = 0; n < bytes->size(); ++n) CHECK_FALSE(decode_entry(bytes->substr(0, n)));
  CHECK_FALSE(decode_entry(*bytes + "x"));
  std::string newer = *bytes;
  newer[0] = 2;
  CHECK(decode_entry(newer).error().code == Errc::unsupported);
  SeededRandom random(3);
  for (int i = 0; i < 3000; ++i) {
    std::string wrong = *bytes;
    wrong[random.below(40)] = static_cast<char>(random.below(256));
    (void)decode_entry(wrong);  // must not read outside; the sanitizers look
  }
}

TEST_CASE("format bytes") {
  CHECK(*from_stored(to_stored("x")) == "x");
  CHECK(from_stored("").error().code == Errc::corrupt);
  CHECK(from_stored("\x02x").error().code == Errc::unsupported);
  CHECK(from_stored("\x03x").error().code == Errc::unsupported);
  CHECK(from_stored("{}").error().code == Errc::corrupt);
}

TEST_CASE("two replicas that apply the same entries in other batches agree") {
  SeededRandom random(9);
  Index one(1 << 20), two(0);
  Revision r1 = 0, r2 = 0;
  const auto apply = [](Index& index, Revision& revision, std::vector<raft::Entry> entries) {
    Batch b;
    b.entries = std::move(entries);
    REQUIRE(evaluate(b, index, revision));
    for (const Change& c : b.changes) {
      if (c.deleted)
        index.erase(c.key);
      else
        index.put(c.key, c.id, c.created, static_cast<uint32_t>(c.value->size()), c.value);
    }
    revision = b.revision;
    std::vector<bool> verdicts;
    for (const auto& v : b.verdicts) verdicts.push_back(v->has_value());
    return verdicts;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<raft::Entry> entries;
    for (uint64_t n = 1 + random.below(5); n > 0; --n) {
      const std::string key = std::to_string(random.below(6));
      const auto expect =
          random.below(2)
              ? std::optional<Revision>(static_cast<Revision>(random.below(static_cast<uint64_t>(r1) + 2)))
              : std::nullopt;
      entries.push_back(
          {1, 1, raft::EntryKind::normal,
           share(*encode_entry({{random.below(3) ? put(key, "v", expect) : del(key, expect)}}, 0))});
    }
    const auto together = apply(one, r1, entries);
    std::vector<bool> single;
    for (const raft::Entry& e : entries) single.push_back(apply(two, r2, {e})[0]);
    CHECK(together == single);
    CHECK(r1 == r2);
    CHECK(one.state() == two.state());
  }
  CHECK(two.cached_bytes() == 0);
}

TEST_CASE("the cache keeps what is used and stays within its bound") {
  Index index(10 * (100 + 64));
  for (int i = 0; i < 50; ++i) {
    index.put(strf("k%02d", i), row_id(i + 1, 0), i + 1, 100, share(std::string(100, 'x')));
    index.use(*index.find("k00"));
    CHECK(index.cached_bytes() <= 10 * (100 + 64));
  }
  CHECK(index.find("k00")->value);
  CHECK(index.find("k49")->value);
  CHECK_FALSE(index.find("k20")->value);
  index.fill("k20", 1, share("stale"), false);
  CHECK_FALSE(index.find("k20")->value);
  index.fill("k20", row_id(21, 0), share("x"), true);
  CHECK_FALSE(index.find("k20")->value);
  index.fill("k20", row_id(21, 0), share("x"), false);
  CHECK(index.find("k20")->value);
  for (int i = 0; i < 50; ++i) index.erase(strf("k%02d", i));
  CHECK(index.cached_bytes() == 0);
  CHECK(index.state() == 0);
}

TEST_CASE("the end of a prefix") {
  CHECK(after_prefix("") == "");
  CHECK(after_prefix("a/") == "a0");
  CHECK(after_prefix("a\xff") == "b");
  CHECK(after_prefix("\xff\xff") == "");
}

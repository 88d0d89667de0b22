// Records: the manifest, files, pieces of the state, and their end.
#include "backup/records.h"

#include <doctest/doctest.h>

#include <cstring>

#include "base/varint.h"
#include "support.h"

using namespace limpet;
using namespace limpet::backup;
using limpet::backup_test::manifest;

namespace {

struct Seen {
  std::vector<Manifest> manifests;
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<std::string> state;
  RecordReader reader{{[this](Manifest m) -> Result<> {
                         manifests.push_back(std::move(m));
                         return {};
                       },
                       [this](std::string_view name, std::string_view bytes) -> Result<> {
                         files.emplace_back(name, bytes);
                         return {};
                       },
                       [this](std::string_view piece) -> Result<> {
                         state.emplace_back(piece);
                         return {};
                       }}};
};

const std::string m = record(RecordType::manifest, manifest_json(manifest()));
const std::string f1 = file_record("ca.key", "abc"), f2 = file_record("ca.crt", "");
const std::string s = record(RecordType::state, std::string(300, 's'));

}  // namespace

TEST_CASE("a manifest is what its JSON says") {
  CHECK(*parse_manifest(manifest_json(manifest())) == manifest());
  struct Row {
    const char *from, *to;
    Errc code;
  };
  const Row rows[] = {
      {"\"format\":1", "\"format\":2", Errc::unsupported},
      {"\"format\":1", "\"format\":0", Errc::corrupt},
      {"\"format\":1,", "", Errc::corrupt},
      {"\"cluster\":\"3", "\"cluster\":\"x", Errc::corrupt},
      {"\"cluster\":\"30", "\"cluster\":\"", Errc::corrupt},
      {"\"time\":1", "\"time\":-1", Errc::corrupt},
      {"\"revision\":1234", "\"revision\":1.5", Errc::corrupt},
      {"\"term\":7", "\"term\":\"7\"", Errc::corrupt},
      {"\"stateBytes\":5000", "\"stateBytes\":null", Errc::corrupt},
      {"\"storeSchema\":1,", "", Errc::corrupt},
      {"\"ca.key\"", "\"../ca.key\"", Errc::corrupt},
      {"\"ca.key\"", "\".ca\"", Errc::corrupt},
      {"\"ca.key\"", "\"\"", Errc::corrupt},
      {"\"bytes\":3", "\"bytes\":-3", Errc::corrupt},
      {"{", "{{", Errc::corrupt},
  };
  for (const Row& row : rows) {
    std::string text = manifest_json(manifest());
    const size_t at = text.find(row.from);
    REQUIRE(at != std::string::npos);
    text.replace(at, strlen(row.from), row.to);
    const auto parsed = parse_manifest(text);
    REQUIRE_FALSE_MESSAGE(parsed.has_value(), text);
    CHECK_MESSAGE(parsed.error().code == row.code, text, ": ", parsed.error().message);
  }
  Manifest many = manifest();
  many.files.assign(max_files + 1, {"a", 1});
  CHECK_FALSE(parse_manifest(manifest_json(many)));
}

TEST_CASE("records come out as they went in, in whatever pieces") {
  const std::string big = record(RecordType::state, std::string(3u << 20, 'b'));
  const std::string all = m + f1 + f2 + s + big + end_record(5);
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{65536}, all.size()}) {
    if (piece == 1 && all.size() > 4u << 20) continue;
    Seen seen;
    for (size_t at = 0; at < all.size(); at += piece) REQUIRE(seen.reader.feed(all.substr(at, piece)));
    CHECK(seen.reader.ended());
    CHECK(seen.reader.finish());
    CHECK(seen.manifests == std::vector{manifest()});
    CHECK(seen.files == std::vector<std::pair<std::string, std::string>>{{"ca.key", "abc"}, {"ca.crt", ""}});
    REQUIRE(seen.state.size() == 2);
    CHECK(seen.state[0] == std::string(300, 's'));
    CHECK(seen.state[1].size() == 3u << 20);
  }
}

TEST_CASE("every cut is seen") {
  const std::string all = m + f1 + f2 + s + end_record(4);
  for (size_t n = 0; n < all.size(); n++) {
    Seen seen;
    const auto fed = seen.reader.feed(all.substr(0, n));
    CHECK(fed);
    CHECK_FALSE(seen.reader.ended());
    CHECK(seen.reader.finish().error().code == Errc::corrupt);
  }
}

TEST_CASE("an order that nobody would have made is refused") {
  std::string long_length(1, 3);
  long_length += std::string(10, static_cast<char>(0xff)) + "x";
  std::string too_large(1, 3);
  put_varint(too_large, max_state + 1);
  const std::pair<const char*, std::string> rows[] = {
      {"no manifest", f1},
      {"two manifests", m + m},
      {"a file that the manifest does not name next", m + f2},
      {"a file of another size", m + file_record("ca.key", "abcd")},
      {"a file too many", m + f1 + f2 + f1},
      {"a file behind the state", m + f1 + f2 + s + f2},
      {"state before the files", m + f1 + s},
      {"an end without state", m + f1 + f2 + end_record(3)},
      {"an end that counts otherwise", m + f1 + f2 + s + end_record(3)},
      {"an end with more in it", m + f1 + f2 + s + record(RecordType::end, std::string("\4\0", 2))},
      {"more behind the end", m + f1 + f2 + s + end_record(4) + s},
      {"an unknown type", m + record(static_cast<RecordType>(5), "")},
      {"type 0", std::string(20, '\0')},
      {"a length that is none", m + f1 + f2 + long_length},
      {"a length beyond all", m + f1 + f2 + too_large},
      {"a file without a name", m + record(RecordType::file, "\x7f")},
  };
  for (const auto& [what, bytes] : rows) {
    Seen seen;
    const auto fed = seen.reader.feed(bytes);
    REQUIRE_FALSE_MESSAGE(fed.has_value(), what);
    CHECK_MESSAGE(fed.error().code == Errc::corrupt, what);
  }
}

TEST_CASE("the sink's error ends it") {
  RecordReader reader({[](Manifest) -> Result<> { return fail(Errc::exhausted, "full"); }, {}, {}});
  CHECK(reader.feed(m).error().code == Errc::exhausted);
}

TEST_CASE("the estimate is above what is written") {
  Manifest man = manifest();
  man.state_bytes = 10 << 20;
  CHECK(estimate(man) > 10u << 20);
  CHECK(estimate(man) < 12u << 20);
}

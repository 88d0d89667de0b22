// Backup files: whole or not at all, every change seen, old ones removed and nothing else.
#include "backup/file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "backup/catalog.h"
#include "base/failpoint.h"
#include "support.h"

using namespace limpet;
using namespace limpet::backup;
using limpet::backup_test::label;
using limpet::backup_test::TempDir;

namespace {

constexpr uint32_t few = 10;
const std::string passphrase = "correct horse";

Result<uint64_t> write(const std::string& path, std::string_view plain, bool replace = false,
                       const Label& of = label()) {
  SystemRandom random;
  TRY(const Head head, make_head(of, passphrase, few, random));
  TRY(auto writer, BackupWriter::create(path, replace, head));
  CHECK_OK(writer.write(plain));
  return writer.finish();
}

Result<std::string> read(const std::string& path, const std::string& phrase = passphrase) {
  TRY(auto input, BackupInput::open(path));
  TRY(const pki::SealKey key, open_head(input.header(), phrase));
  std::string out;
  size_t largest = 0;
  CHECK_OK(input.read(key, [&](std::string_view plain) -> Result<> {
    largest = std::max(largest, plain.size());
    out += plain;
    return {};
  }));
  CHECK(largest <= 2 * pki::stream_chunk);
  return out;
}

std::string pattern(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; i++) out[i] = static_cast<char>(i * 7 + i / 251);
  return out;
}

std::string bytes(const std::string& path) { return read_file(path, 4 << 20).value(); }

}  // namespace

TEST_CASE("what is written is read again, of every size about the chunks") {
  TempDir dir;
  for (const size_t size : {size_t{0}, size_t{1}, pki::stream_chunk - 1, pki::stream_chunk,
                            pki::stream_chunk + 1, 2 * pki::stream_chunk, size_t{1'000'003}}) {
    const std::string plain = pattern(size), path = dir / "a.backup";
    const auto written = write(path, plain, true);
    REQUIRE(written);
    struct stat st{};
    REQUIRE(stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0600);
    CHECK(static_cast<uint64_t>(st.st_size) == *written);
    const size_t head = *head_size(bytes(path));
    CHECK(*written == head + pki::stream_sealed_size(size));
    CHECK(*read(path) == plain);
    CHECK(read(path, "wrong horse").error().code == Errc::unauthenticated);
  }
}

TEST_CASE(
    "a small file that was cut or altered anywhere is an error, and gives nothing that is not genuine") {
  TempDir dir;
  REQUIRE(write(dir / "a", "what is in it"));
  const std::string whole = bytes(dir / "a");
  for (size_t n = 0; n < whole.size(); n++) {
    const auto got = read(dir.put("b", whole.substr(0, n)));
    REQUIRE_FALSE_MESSAGE(got.has_value(), n);
    CHECK(got.error().message.find(dir / "b") != std::string::npos);
  }
  for (size_t bit = 0; bit < whole.size() * 8; bit++) {
    std::string bent = whole;
    bent[bit / 8] = static_cast<char>(bent[bit / 8] ^ (1 << bit % 8));
    REQUIRE_FALSE_MESSAGE(read(dir.put("b", bent)).has_value(), "bit ", bit);
  }
  CHECK_FALSE(read(dir.put("b", whole + "x")));
  CHECK_FALSE(read(dir.put("b", whole + whole)));
}

TEST_CASE("chunks that are missing, doubled or in another place do not open") {
  TempDir dir;
  const std::string plain = pattern(4 * pki::stream_chunk);
  REQUIRE(write(dir / "a", plain));
  const std::string whole = bytes(dir / "a");
  constexpr size_t sealed = pki::stream_chunk + pki::stream_tag;
  const size_t head = *head_size(whole);
  const auto chunk = [&](size_t i) { return whole.substr(head + i * sealed, sealed); };
  const auto with = [&](const std::vector<size_t>& order) {
    std::string out = whole.substr(0, head);
    for (const size_t i : order) out += chunk(i);
    return dir.put("b", out);
  };
  CHECK(*read(with({0, 1, 2, 3})) == plain);
  for (const auto& order : std::vector<std::vector<size_t>>{{},
                                                            {0},
                                                            {0, 1, 2},
                                                            {1, 2, 3},
                                                            {0, 2, 3},
                                                            {0, 1, 3},
                                                            {1, 0, 2, 3},
                                                            {0, 1, 1, 2, 3},
                                                            {0, 1, 2, 3, 3},
                                                            {3}}) {
    CHECK_FALSE(read(with(order)));
  }
  // At a chunk's border: the rest is gone, and what is left is whole chunks.
  for (size_t n = 0; n < 4; n++) {
    std::string cut = whole.substr(0, head + n * sealed);
    CHECK_FALSE(read(dir.put("b", cut)));
    CHECK_FALSE(read(dir.put("b", cut + whole.substr(head + n * sealed, 15))));
  }
  // The stream of another file of the same passphrase.
  REQUIRE(write(dir / "c", plain));
  const std::string other = bytes(dir / "c");
  CHECK_FALSE(read(dir.put("b", whole.substr(0, head) + other.substr(head))));
}

TEST_CASE("a file is not replaced unless that is wanted, and failures leave nothing") {
  TempDir dir;
  const std::string path = dir.put("a", "somebody's");
  CHECK(write(path, "x").error().code == Errc::already_exists);
  CHECK(bytes(path) == "somebody's");
  for (const char* failpoint : {"backup.file.write=error@1", "backup.file.write=error@2",
                                "backup.file.write=error@3", "backup.file.rename=error"}) {
    failpoint::arm(failpoint);
    CHECK_FALSE_MESSAGE(write(path, "x", true).has_value(), failpoint);
    failpoint::arm("");
    CHECK(bytes(path) == "somebody's");
    CHECK(list_directory(dir.path) == std::vector<std::string>{"a"});
  }
  REQUIRE(write(path, "x", true));
  CHECK(*read(path) == "x");
  CHECK(write(dir / "none/a", "x").error().code == Errc::not_found);
  CHECK(BackupInput::open(dir / "none").error().code == Errc::not_found);
  CHECK(BackupInput::open(dir.path).error().code == Errc::invalid_argument);
  // One that appeared meanwhile is not replaced either.
  SystemRandom random;
  auto writer = BackupWriter::create(dir / "late", false, *make_head(label(), passphrase, few, random));
  REQUIRE(writer);
  dir.put("late", "somebody's");
  CHECK(writer->finish().error().code == Errc::already_exists);
  CHECK(bytes(dir / "late") == "somebody's");
}

TEST_CASE("what was left half-written goes, what is being written stays") {
  TempDir dir;
  dir.put(".a.tmp-abcdef", "old");
  const std::string busy = dir.put(".a.tmp-bbbbbb", "busy");
  const UniqueFd held(open(busy.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(flock(held.get(), LOCK_EX | LOCK_NB) == 0);
  dir.put(".ab.tmp-abcdef", "another's");
  dir.put(".a.tmp-abcde", "another's");
  REQUIRE(write(dir / "a", "x"));
  CHECK(list_directory(dir.path) ==
        std::vector<std::string>{".a.tmp-abcde", ".a.tmp-bbbbbb", ".ab.tmp-abcdef", "a"});
}

TEST_CASE("there must be room") {
  TempDir dir;
  CHECK(check_room(dir.path, 1));
  const auto none = check_room(dir.path, uint64_t{1} << 60);
  CHECK(none.error().code == Errc::exhausted);
  CHECK(none.error().message.find("the backup needs about 1152921504606846976") != std::string::npos);
  CHECK(check_room(dir / "none", 1).error().code == Errc::not_found);
}

TEST_CASE("the schedule's files are told by their heads, and only they go") {
  TempDir dir;
  const auto make = [&](const Label& l) { REQUIRE(write(dir / file_name(l), "x", false, l)); };
  CHECK(file_name(label(1'795'713'120, 1234)) == "limpet-30313233-20261126T171200Z-r1234.backup");
  for (int i = 0; i < 5; i++) make(label(1'795'000'000 + i * 60, 100 + i, true));
  make(label(1'700'000'000, 1, false));  // by a person
  Label other = label(1'600'000'000, 1, true);
  other.cluster = "another cluster.";
  make(other);
  dir.put("limpet-30313233-19700101T000000Z-r1.backup", "named like one");
  dir.put("holiday.jpg", "x");
  dir.put(".limpet-30313233-20261126T171200Z-r9.backup.tmp-abcdef", "cut");
  REQUIRE(symlink("holiday.jpg", (dir / "limpet-link.backup").c_str()) == 0);
  const size_t before = list_directory(dir.path).size();

  const auto found = find_scheduled(dir.path, label().cluster);
  REQUIRE(found.size() == 5);
  CHECK(found[0].label.revision == 104);
  CHECK(found[4].label.revision == 100);
  CHECK(*retain(dir.path, label().cluster, 2) == 3);
  CHECK(list_directory(dir.path).size() == before - 4);
  CHECK(find_scheduled(dir.path, label().cluster)[1].label.revision == 103);
  CHECK(*retain(dir.path, label().cluster, 2) == 0);
  CHECK(find_scheduled(dir / "none", label().cluster).empty());
}

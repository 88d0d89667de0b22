#include "base/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"
#include "support.h"

using namespace limpet;
using limpet::pki_test::TempDir;

TEST_CASE("SHA-256 of known texts, whole and in pieces") {
  struct Row {
    std::string text;
    const char* digest;
  };
  for (const Row& row : {Row{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
                         Row{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                         Row{std::string(1'000'000, 'a'),
                             "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}}) {
    CHECK(sha256_hex(row.text) == row.digest);
    Sha256 h;
    for (int round = 0; round < 2; round++) {  // finish() starts over
      for (size_t at = 0; at < row.text.size(); at += 977)
        h.update(std::string_view(row.text).substr(at, 977));
      CHECK(h.finish_hex() == row.digest);
    }
  }
}

TEST_CASE("files are replaced whole, with their mode") {
  TempDir dir;
  std::string path = dir.file("f");
  CHECK(read_file(path, 10).error().code == Errc::not_found);
  for (const std::string& bytes : {std::string("one"), std::string(), std::string(100'000, 'x')}) {
    REQUIRE(write_file_atomic(path, bytes, 0640));
    CHECK(read_file(path, 100'000).value() == bytes);
    struct stat st;
    REQUIRE(stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0640);
  }
  CHECK(read_file(path, 99'999).error().code == Errc::too_large);
  CHECK_FALSE(write_file_atomic(dir.file("none/f"), "x", 0600));
  REQUIRE(make_directories(dir.file("a/b/c"), 0700));
  REQUIRE(make_directories(dir.file("a/b/c"), 0700));
  CHECK_FALSE(make_directories(path, 0700));
  CHECK_FALSE(make_directories(path + "/x", 0700));
}

TEST_CASE("leftovers of a cut are removed, nothing else") {
  TempDir dir;
  for (const char* name : {".f.tmp-a1B2c3", ".f.tmp-a1B2c34", "f.tmp-a1B2c3", ".f", "f"}) dir.put(name, "x");
  remove_temporaries(dir.path);
  CHECK_FALSE(read_file(dir.file(".f.tmp-a1B2c3"), 10));
  for (const char* name : {".f.tmp-a1B2c34", "f.tmp-a1B2c3", ".f", "f"}) CHECK(read_file(dir.file(name), 10));
  remove_temporaries(dir.file("none"));
}

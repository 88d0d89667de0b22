// The way of a restored state into dataDir, cut at each step.
#include "backup/staged.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "support.h"

using namespace limpet;
using namespace limpet::backup;
using limpet::backup_test::TempDir;

namespace {

struct Device {
  TempDir dir;
  Places places{dir.path, dir / "limpet.db", dir / "pki"};

  Result<> restore() {
    TRY(auto staged, Staged::begin(places));
    CHECK_OK(write_file_atomic(staged.store_file(), "database", 0600));
    CHECK_OK(staged.put("ca.key", "key"));
    CHECK_OK(staged.put("ca.crt", "certificate"));
    return staged.complete();
  }
  std::string text(const std::string& name) const { return read_file(dir / name, 100).value_or("none"); }
  void check_whole() const {
    CHECK(text("limpet.db") == "database");
    CHECK(text("pki/ca.key") == "key");
    CHECK(text("pki/ca.crt") == "certificate");
    struct stat st{};
    REQUIRE(stat((dir / "pki/ca.key").c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0600);
    REQUIRE(stat((dir / "pki").c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0700);
    CHECK(text("restore.staged/complete") == "none");
    CHECK(list_directory(dir / "restore.staged").empty());
  }
};

}  // namespace

TEST_CASE("a state comes to its places") {
  Device d;
  REQUIRE(settle_staged(d.places));
  REQUIRE(d.restore());
  d.check_whole();
  CHECK(list_directory(d.dir.path) == std::vector<std::string>{"limpet.db", "pki"});
}

TEST_CASE("until it is complete nothing of it counts") {
  for (const char* failpoint : {"backup.restore.file=error@2", "backup.restore.complete=error"}) {
    Device d;
    failpoint::arm(failpoint);
    CHECK_FALSE(d.restore());
    failpoint::arm("");
    CHECK(list_directory(d.dir.path).empty());
  }
  // As a power cut leaves it.
  Device d;
  REQUIRE(make_directories(d.dir / "restore.staged/pki", 0700));
  d.dir.put("restore.staged/limpet.db", "half a data");
  REQUIRE(settle_staged(d.places));
  CHECK(list_directory(d.dir.path).empty());
}

TEST_CASE("once it is complete a cut changes nothing") {
  for (int n = 1; n <= 3; n++) {
    Device d;
    failpoint::arm(strf("backup.restore.move=error@%d", n));
    CHECK_FALSE(d.restore());
    failpoint::arm("");
    REQUIRE(settle_staged(d.places));
    d.check_whole();
    REQUIRE(settle_staged(d.places));
    d.check_whole();
  }
}

TEST_CASE("a dataDir with a store or another identity is left alone") {
  for (const char* name : {"limpet.db", "limpet.db-wal"}) {
    Device d;
    d.dir.put(name, "x");
    const auto refused = d.restore();
    CHECK(refused.error().code == Errc::already_exists);
    CHECK(refused.error().message.find(name) != std::string::npos);
    CHECK(list_directory(d.dir.path).size() == 1);
  }
  for (const char* name : {"cluster.json", "join.json", "joining/cluster.json"}) {
    Device d;
    REQUIRE(make_directories(d.dir / "joining", 0700));
    if (!std::string_view(name).starts_with("joining")) REQUIRE(rmdir((d.dir / "joining").c_str()) == 0);
    d.dir.put(name, "{}");
    const auto refused = d.restore();
    CHECK(refused.error().code == Errc::already_exists);
    CHECK(refused.error().message.find("one of a cluster") != std::string::npos);
    CHECK(d.text(name) == "{}");
    CHECK(list_directory(d.dir.path).size() == 1);
  }
  Device d;
  d.dir.put("limpet.db", "");  // a database that was lost is none
  REQUIRE(make_directories(d.places.pki_dir, 0700));
  d.dir.put("pki/ca.key", "another");
  CHECK(d.restore().error().code == Errc::already_exists);
  CHECK(d.text("pki/ca.key") == "another");
  CHECK(d.text("limpet.db") == "");
  d.dir.put("pki/ca.key", "key");
  REQUIRE(d.restore());
  d.check_whole();
}

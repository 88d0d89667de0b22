// A migration of the schema that is cut. There is one version so far; what follows it here is made up, and
// rewrites every row, as a real step may have to.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <map>

#include "base/failpoint.h"
#include "disk.h"
#include "harness.h"
#include "store/database.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

constexpr size_t kCheckpointBytes = 24 << 10;
constexpr const char* kMoveRows =
    "CREATE TABLE moved(id INTEGER PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL, previous "
    "INTEGER NOT NULL,"
    " idx INTEGER NOT NULL, time INTEGER NOT NULL, state INTEGER NOT NULL, sum INTEGER NOT NULL, value BLOB);"
    "INSERT INTO moved SELECT * FROM rows;"
    "DROP TABLE rows;"
    "ALTER TABLE moved RENAME TO rows";
constexpr const char* kCountRows =
    "CREATE TABLE counted(rows INTEGER NOT NULL); INSERT INTO counted SELECT count(*) FROM rows";

std::array<const char*, 3> later_steps() { return {Database::kSteps[0], kMoveRows, kCountRows}; }

using Values = std::map<std::string, std::string>;

// What the file of an older version holds: objects that stayed, changed and went. `clean`: the write-ahead
// log is in it.
Values make_older(const std::string& path, bool clean) {
  REQUIRE(Database::kSteps.size() == 1);
  Harness h({.path = path, .checkpoint_bytes = kCheckpointBytes});
  h.must_open();
  Values values;
  for (int i = 0; i < 40; ++i) {
    const std::string key = strf("k%02d", i);
    h.must_put(key, "first");
    h.must_put(key, values[key] = std::string(900, 'x') + key);
  }
  for (const char* gone : {"k03", "k30"}) {
    REQUIRE(h.commit({del(gone)}));
    values.erase(gone);
  }
  if (clean) h.close();
  return values;
}

Result<> migrate(const std::string& path) {
  const auto steps = later_steps();
  TRY(const auto db, Database::open(path, kCheckpointBytes, Database::Disk::has_room, steps));
  return {};
}

// Opens with the later steps, which must succeed, and reads every object with its checksum.
Values values_after(const std::string& path) {
  const auto steps = later_steps();
  auto db = Database::open(path, kCheckpointBytes, Database::Disk::has_room, steps);
  REQUIRE_MESSAGE(db, db.error().message);
  Values values;
  size_t versions = 0;
  const auto all = (*db)->each_version([&](const Version& v) -> Result<> {
    ++versions;
    if (v.size < 0) {
      values.erase(std::string(v.key));
      return {};
    }
    TRY(Row row, (*db)->read(v.id, v.key));
    values[row.key] = row.value;
    return {};
  });
  REQUIRE_MESSAGE(all, all.error().message);
  CHECK(versions == 82);
  CHECK((*db)->quick_check());
  return values;
}

}  // namespace

TEST_CASE("a migration that is cut is made again, and every row is there") {
  for (const bool clean : {true, false}) {
    for (const char* point :
         {"store.migrate.step=%s@1", "store.migrate.step=%s@2", "store.migrate.commit=%s@1"}) {
      for (const char* action : {"error", "kill"}) {
        CAPTURE(clean);
        CAPTURE(point);
        CAPTURE(action);
        TempDir dir;
        const std::string path = dir / "state.db";
        const Values values = make_older(path, clean);
        std::string spec = point;
        spec.replace(spec.find("%s"), 2, action);
        const pid_t child = fork();
        if (child == 0) {
          failpoint::arm(spec);
          _exit(migrate(path) ? 1 : 0);
        }
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        if (spec.find("kill") != std::string::npos) {
          CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        } else {
          CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
        }
        {  // Nothing of it was done: the version before reads its file.
          Harness before({.path = path, .checkpoint_bytes = kCheckpointBytes});
          before.must_open();
          CHECK(before.durable().count("") == values.size());
          CHECK(before.value("k39") == values.at("k39"));
        }
        CHECK(values_after(path) == values);
        Harness older({.path = path});
        const auto refused = older.open();
        REQUIRE(!refused);
        CHECK(refused.error().message.find("schema version 3, this limpet knows up to 1") !=
              std::string::npos);
      }
    }
  }
}

TEST_CASE("a power cut at any moment of a migration loses no row") {
  for (const bool clean : {true, false}) {
    CAPTURE(clean);
    TempDir dir;
    const std::string path = dir / "state.db";
    std::vector<std::unique_ptr<TempDir>> images;
    Values values;
    {
      Disk disk;
      values = make_older(path, clean);
      SeededRandom random(clean ? 1 : 2);
      disk.observe(1, [&] {
        images.push_back(std::make_unique<TempDir>());
        disk.image(random, images.back()->path());
      });
      REQUIRE(migrate(path));
      disk.observe(0, nullptr);
    }
    CHECK(images.size() > 30);
    for (auto& image : images) CHECK(values_after(*image / "state.db") == values);
  }
}

TEST_CASE("a disk that fails at any call of a migration loses no row") {
  for (const auto call : {Disk::Call::write, Disk::Call::sync}) {
    int n = 1;
    for (bool reached = true; reached; ++n) {
      CAPTURE(static_cast<int>(call));
      CAPTURE(n);
      TempDir dir;
      const std::string path = dir / "state.db";
      Disk disk;
      const Values values = make_older(path, true);
      disk.fail_nth(call, n, true);
      const auto done = migrate(path);
      reached = disk.reached();
      CHECK(done.has_value() == !reached);
      disk.heal();
      CHECK(values_after(path) == values);
    }
    CHECK(n > 2);
  }
}

// Opening: what is refused, by which words, and what it leaves alone.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "../sql.h"
#include "base/failpoint.h"
#include "harness.h"
#include "store/data_dir_lock.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

TEST_CASE("files that are not ours, or of a newer version, are refused and left alone") {
  struct Row {
    const char* name;
    const char* sql;  // null: garbage bytes
    bool ours;        // made by us first
    Errc code;
    const char* says;
  };
  for (const Row& row : {
           Row{"another program's", "CREATE TABLE t(x); INSERT INTO t VALUES(1)", false,
               Errc::invalid_argument, "not a limpet database"},
           Row{"no database at all", nullptr, false, Errc::invalid_argument, "not a limpet database"},
           Row{"newer", "PRAGMA user_version = 7", true, Errc::unsupported,
               "schema version 7, this limpet knows up to 1"},
           Row{"without its number", "PRAGMA user_version = 0", true, Errc::corrupt, "damaged"},
           Row{"a lost key", "DELETE FROM versions WHERE key = x'61'", true, Errc::corrupt,
               "its keys are not those"},
           Row{"a lost row", "DELETE FROM rows WHERE id = (SELECT max(id) FROM rows)", true, Errc::corrupt,
               "damaged"},
       }) {
    CAPTURE(row.name);
    TempDir dir;
    const std::string path = dir / "state.db";
    if (row.ours) {
      Harness h({.path = path});
      h.must_open();
      h.must_put("a", "1");
      h.must_put("b", "1");
      h.close();
    }
    if (row.sql) {
      sql(path, row.sql);
    } else {
      write_file(path, std::string(5000, 'x'));
    }
    const std::string before = read_file(path);
    Harness h({.path = path});
    const auto r = h.open();
    REQUIRE(!r);
    CHECK(r.error().code == row.code);
    CHECK(r.error().message.find(row.says) != std::string::npos);
    CHECK(r.error().message.find(path) != std::string::npos);
    CHECK(read_file(path) == before);
  }
}

TEST_CASE("a lock on a file whose name was taken away locks nothing, and is taken again") {
  TempDir dir;
  const std::string path = dir / "lock";
  failpoint::arm("store.lock.opened=error@1");
  const auto held = FileLock::acquire(path, "it");
  failpoint::arm("");
  REQUIRE(held);
  CHECK(access(path.c_str(), F_OK) == 0);
  const auto second = FileLock::acquire(path, "it");
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Errc::already_exists);
  failpoint::arm("store.lock.opened=error");
  const auto never = FileLock::acquire(dir / "other", "it");
  failpoint::arm("");
  REQUIRE_FALSE(never);
  CHECK(never.error().message.find("removed again and again") != std::string::npos);
}

TEST_CASE("a second opener is refused and told who holds it") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  h.must_put("a", "1");
  Harness second({.path = dir / "state.db"});
  const auto r = second.open();
  REQUIRE(!r);
  CHECK(r.error().code == Errc::already_exists);
  CHECK(r.error().message.find(strf("pid %d", getpid())) != std::string::npos);
  const pid_t child = fork();
  if (child == 0) {
    // Another program, which knows nothing of our lock file: SQLite's own lock stops it.
    sqlite3* db = nullptr;
    sqlite3_open((dir / "state.db").c_str(), &db);
    _exit(sqlite3_exec(db, "SELECT count(*) FROM rows", nullptr, nullptr, nullptr) == SQLITE_BUSY ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  h.must_put("a", "2");
  CHECK(lock_data_dir(dir / "data"));
  const auto held = lock_data_dir(dir / "data");
  CHECK(held);
  CHECK(lock_data_dir(dir / "data").error().code == Errc::already_exists);
}

TEST_CASE("a database whose log is there but whose file is gone is not made anew") {
  TempDir dir;
  const std::string path = dir / "state.db";
  Harness h({.path = path});
  h.must_open();
  h.must_put("a", "1");
  h.drop();
  REQUIRE(unlink(path.c_str()) == 0);
  CHECK(h.open().error().code == Errc::corrupt);
}

TEST_CASE("a device that had a database does not begin an empty one") {
  for (const bool emptied : {true, false}) {
    CAPTURE(emptied);
    TempDir dir;
    const std::string path = dir / "state.db";
    write_file(path, "");  // as a first start leaves it that is cut at once
    Harness h({.path = path});
    h.must_open();
    h.must_put("a", "1");
    h.close();
    const std::string bytes = read_file(path);
    REQUIRE(unlink(path.c_str()) == 0);
    if (emptied) write_file(path, "");
    for (int i = 0; i < 2; ++i) {
      const auto refused = h.open();
      REQUIRE(!refused);
      CHECK(refused.error().code == Errc::corrupt);
      CHECK(refused.error().message ==
            path + " is missing or empty, though this device had one: restore a backup, or remove " + path +
                ".made to begin with an empty cluster");
    }
    if (emptied) {
      write_file(path, bytes);
      h.must_open();
      CHECK(h.value("a") == "1");
    } else {
      REQUIRE(unlink((path + ".made").c_str()) == 0);
      h.must_open();
      CHECK(h.value("a") == "<none>");
    }
  }
}

TEST_CASE("standard descriptors that are closed are never the database") {
  TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    for (int fd = 0; fd < 3; ++fd) close(fd);
    Harness h({.path = dir / "state.db"});
    const bool opened = h.open().has_value();
    const bool put_it = opened && h.commit({put("a", "1")}).has_value();
    for (int fd = 0; fd < 3; ++fd) {
      char target[256] = {};
      if (readlink(strf("/proc/self/fd/%d", fd).c_str(), target, sizeof target - 1) < 0) _exit(2);
      if (strstr(target, "state.db")) _exit(3);
    }
    _exit(put_it ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  Harness h({.path = dir / "state.db"});
  h.must_open();
  CHECK(h.value("a") == "1");
}

TEST_CASE("the file holds no secret for others, and a clean stop leaves no log") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  h.must_put("secrets/a", "x");
  struct stat st;
  for (const char* name : {"state.db", "state.db-wal", "state.db.lock", "state.db.reserve"}) {
    CAPTURE(name);
    REQUIRE(stat((dir / name).c_str(), &st) == 0);
    CHECK((st.st_mode & 077) == 0);
  }
  h.close();
  CHECK(stat((dir / "state.db-wal").c_str(), &st) != 0);
}

TEST_CASE("a stop in the middle of making the file is made good by the next start") {
  for (const char* point :
       {"store.open=error@1", "store.migrate.step=error@1", "store.migrate.commit=error@1",
        "store.boot.commit=error@1", "store.directory.sync=error@1"}) {
    CAPTURE(point);
    TempDir dir;
    Harness h({.path = dir / "state.db"});
    failpoint::arm(point);
    CHECK_FALSE(h.open());
    failpoint::arm("");
    h.must_open();
    CHECK(h.must_put("a", "1") == 1);
  }
}

TEST_CASE("a check that is cut is made again") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  h.must_put("a", "1");
  h.drop();  // leaves a log, which makes the next start look at the file
  failpoint::arm("store.check=error");
  CHECK_FALSE(h.open());
  failpoint::arm("");
  h.must_open();
  CHECK(h.value("a") == "1");
}

TEST_CASE("failpoints on the way of a write") {
  struct Row {
    const char* point;
    bool written;
  };
  for (const Row& row : {Row{"store.commit.before=error@1", false}, Row{"store.commit.write=error@1", false},
                         Row{"store.commit.after=error@1", true}, Row{"store.ack.before=error@1", true},
                         Row{"store.publish=error@1", true}}) {
    CAPTURE(row.point);
    TempDir dir;
    Harness h({.path = dir / "state.db"});
    h.must_open();
    h.must_put("a", "1");
    failpoint::arm(row.point);
    CHECK(h.commit({put("a", "2")}).error().code == Errc::timeout);
    failpoint::arm("");
    CHECK(h.fatal.size() == 1);
    CHECK(h.commit({put("a", "3")}).error().code == Errc::unavailable);
    h.drop();
    h.must_open();
    CHECK(h.value("a") == (row.written ? "2" : "1"));
  }
}

#include "node/node_db.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sql.h"
#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/json.h"

using namespace limpet;
using namespace limpet::node;

namespace {

Sealer sealer() {
  const auto flip = [](std::string_view in) -> Result<std::string> {
    std::string out(in);
    for (char& c : out) c = static_cast<char>(c ^ 0x55);
    return out;
  };
  return {flip, flip};
}

struct Rig {
  loop::Loop loop;
  std::string dir, path;
  Rig() {
    char name[] = "/tmp/limpet-nodedb-XXXXXX";
    dir = mkdtemp(name);
    path = dir + "/node.db";
  }
  ~Rig() {
    for (const char* suffix : {"", "-wal", "-shm", ".damaged-1", ".damaged-2", ".damaged-3"})
      unlink((path + suffix).c_str());
    rmdir(dir.c_str());
  }
  std::unique_ptr<NodeDb> open() {
    auto db = NodeDb::open(loop, path, sealer());
    REQUIRE_MESSAGE(db.has_value(), db.error().message);
    return std::move(*db);
  }
  bool aside(int n) const { return access((path + ".damaged-" + std::to_string(n)).c_str(), F_OK) == 0; }
  void close(std::unique_ptr<NodeDb> db) {
    bool closed = false;
    db->close([&] {
      closed = true;
      loop.stop();
    });
    while (!closed) loop.run();
  }
};

SharedBytes pod(const char* uid, const char* phase, int version) {
  return share(strf(
      R"({"metadata":{"uid":"%s","resourceVersion":"%d"},"spec":{"x":1},"status":{"phase":"%s","n":%d}})",
      uid, version, phase, version));
}

}  // namespace

TEST_CASE("what was noted is there after a restart; secrets are not readable in the file") {
  Rig rig;
  auto db = rig.open();
  db->put_pod("u1", pod("u1", "Running", 1));
  db->put_pod("u2", pod("u2", "Running", 1));
  db->remove_pod("u2");
  db->put_restart_count("u1", "app", 3);
  db->put_restart_asked("u1", "app", "run-3");
  db->put_restart_asked("u1", "side", "run-1");
  db->put_restart_asked("u1", "side", "");
  db->put_restart_asked("u2", "app", "run-1");
  db->remove_pod("u2");
  db->put_object("shop/secrets/s", share("hunter2 in the clear"));
  db->put_object("shop/configmaps/c", share("plain words"));
  rig.close(std::move(db));
  const auto raw = read_file(rig.path, 1 << 20);
  const auto wal = read_file(rig.path + "-wal", 1 << 20);
  const std::string all = *raw + (wal ? *wal : "");
  CHECK(all.find("plain words") != std::string::npos);
  CHECK(all.find("hunter2") == std::string::npos);
  db = rig.open();
  CHECK(db->pods().size() == 1);
  CHECK(db->restart_counts("u1").at("app") == 3);
  CHECK(db->restarts_asked("u1") == std::map<std::string, std::string>{{"app", "run-3"}});
  CHECK(db->restarts_asked("u2").empty());
  db->put_restart_asked("u1", "app", "");
  CHECK(*db->object("shop/secrets/s") == "hunter2 in the clear");
  CHECK(db->object("shop/secrets/none") == nullptr);
  db->retain_objects({"shop/configmaps/c"});
  rig.close(std::move(db));
  db = rig.open();
  CHECK(db->restarts_asked("u1").empty());
  CHECK(db->object("shop/secrets/s") == nullptr);
  CHECK(db->object("shop/configmaps/c") != nullptr);
  rig.close(std::move(db));
}

TEST_CASE("a change of status alone writes nothing") {
  Rig rig;
  auto db = rig.open();
  db->put_pod("u1", pod("u1", "Running", 1));
  rig.close(std::move(db));
  db = rig.open();
  db->put_pod("u1", pod("u1", "Running", 2));
  rig.close(std::move(db));
  db = rig.open();
  CHECK(*db->pods().at(0) == *pod("u1", "Running", 1));
  db->put_pod("u1", pod("u1", "Succeeded", 3));  // that it ended must be known
  rig.close(std::move(db));
  db = rig.open();
  CHECK(*db->pods().at(0) == *pod("u1", "Succeeded", 3));
  rig.close(std::move(db));
}

TEST_CASE("a damaged file is set aside and begun anew, wherever the damage is") {
  for (const size_t at : {0u, 100u, 4096u + 200u}) {
    CAPTURE(at);
    Rig rig;
    auto db = rig.open();
    db->put_pod("u1", share(R"({"spec":")" + std::string(3000, 'x') + R"("})"));
    rig.close(std::move(db));
    std::string bytes = *read_file(rig.path, 1 << 20);
    REQUIRE(bytes.size() > at + 64);
    for (size_t i = at; i < at + 64; i++) bytes[i] = static_cast<char>(~bytes[i]);
    REQUIRE(write_file_atomic(rig.path, bytes, 0600).has_value());
    db = rig.open();
    // Either the damage was seen, and the file is aside, or it hit bytes that carry nothing; never a wrong
    // pod.
    if (db->pods().empty()) {
      CHECK(access((rig.path + ".damaged-1").c_str(), F_OK) == 0);
    } else {
      CHECK(db->pods()[0]->size() == 3011);
    }
    db->put_pod("u9", pod("u9", "Running", 1));
    rig.close(std::move(db));
  }
}

TEST_CASE("a file that is not ours is kept aside as it was, an empty one is a new one") {
  struct Row {
    const char* sql;  // null: bytes
    size_t bytes;
    bool aside;
  };
  for (const Row& row : {Row{"CREATE TABLE t(x); INSERT INTO t VALUES('theirs')", 0, true},
                         Row{"CREATE TABLE record(a); PRAGMA application_id=7", 0, true},
                         Row{"PRAGMA application_id=7", 0, true}, Row{nullptr, 0, false},
                         Row{nullptr, 50, true}, Row{nullptr, 5000, true}}) {
    CAPTURE(row.sql);
    CAPTURE(row.bytes);
    Rig rig;
    if (row.sql) {
      sql(rig.path, row.sql);
    } else {
      REQUIRE(write_file_atomic(rig.path, std::string(row.bytes, 'x'), 0600));
    }
    const std::string before = *read_file(rig.path, 1 << 20);
    auto db = rig.open();
    CHECK(rig.aside(1) == row.aside);
    if (row.aside) CHECK(*read_file(rig.path + ".damaged-1", 1 << 20) == before);
    db->put_pod("u1", pod("u1", "Running", 1));
    rig.close(std::move(db));
    db = rig.open();
    CHECK(db->pods().size() == 1);
    rig.close(std::move(db));
  }
}

TEST_CASE("a file of a newer version is refused and left alone") {
  Rig rig;
  auto db = rig.open();
  db->put_pod("u1", pod("u1", "Running", 1));
  rig.close(std::move(db));
  sql(rig.path, "PRAGMA user_version = 7");
  const std::string before = *read_file(rig.path, 1 << 20);
  const auto refused = NodeDb::open(rig.loop, rig.path, sealer());
  REQUIRE(!refused);
  CHECK(refused.error().code == Errc::unsupported);
  CHECK(refused.error().message.find(rig.path) != std::string::npos);
  CHECK(refused.error().message.find("schema 7, this one knows 1") != std::string::npos);
  CHECK(*read_file(rig.path, 1 << 20) == before);
  CHECK_FALSE(rig.aside(1));
}

TEST_CASE("cut anywhere, or with a flipped bit in any page, the file says the truth or nothing") {
  Rig origin;
  auto db = origin.open();
  std::map<std::string, std::string> truth;
  for (int i = 0; i < 12; i++) {
    const std::string uid = strf("u%d", i);
    truth[uid] = strf(R"({"metadata":{"uid":"%s"},"spec":")", uid.c_str()) +
                 std::string(static_cast<size_t>(i) * 300, 'x') + R"("})";
    db->put_pod(uid, share(truth[uid]));
  }
  origin.close(std::move(db));
  sql(origin.path, "PRAGMA wal_checkpoint(TRUNCATE)");
  const std::string bytes = *read_file(origin.path, 1 << 20);
  REQUIRE(bytes.size() > 4 * 4096);
  std::vector<std::string> damaged;
  for (size_t at = 0; at < bytes.size(); at += 1777) {
    damaged.push_back(bytes.substr(0, at));
    damaged.push_back(bytes);
    damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 0x10);
  }
  int whole = 0, anew = 0;
  for (const std::string& d : damaged) {
    Rig rig;
    REQUIRE(write_file_atomic(rig.path, d, 0600));
    db = rig.open();
    for (const SharedBytes& p : db->pods()) CHECK(*p == truth[json::Cursor(*p)["metadata"]["uid"].str()]);
    ++(db->pods().size() == truth.size() ? whole : anew);
    db->put_pod("new", pod("new", "Running", 1));
    rig.close(std::move(db));
    db = rig.open();
    CHECK(db->pods().size() == (rig.aside(1) || d.empty() ? 1 : truth.size() + 1));
    rig.close(std::move(db));
  }
  CHECK(whole > 0);
  CHECK(anew > 10);
}

TEST_CASE("damage again and again does not fill the disk with copies") {
  Rig rig;
  for (int i = 1; i <= 6; i++) {
    REQUIRE(write_file_atomic(rig.path, "damage " + std::to_string(i), 0600));
    rig.close(rig.open());
  }
  CHECK(*read_file(rig.path + ".damaged-1", 64) == "damage 1");
  CHECK(*read_file(rig.path + ".damaged-3", 64) == "damage 6");
  CHECK_FALSE(rig.aside(4));
}

TEST_CASE("what cannot be written waits, and is written when it can be") {
  Rig rig;
  SUBCASE("a write fails") {
    auto db = rig.open();
    failpoint::arm("node.db.commit=error@1");
    db->put_pod("u1", pod("u1", "Running", 1));
    db->put_pod("u2", pod("u2", "Running", 1));
    REQUIRE(rig.loop.run_until([] { return failpoint::hits()["node.db.commit"] == 1; }, 5000));
    db->put_pod("u2", pod("u2", "Failed", 2));
    rig.close(std::move(db));
  }
  SUBCASE("nothing is there to write to at the start") {
    const std::string file = std::exchange(rig.path, rig.dir + "/later/node.db");
    auto db = rig.open();
    db->put_pod("u1", pod("u1", "Running", 1));
    db->put_pod("u2", pod("u2", "Failed", 2));
    REQUIRE(rig.loop.run_until([] { return false; }, 20) == false);
    REQUIRE(make_directories(rig.dir + "/later", 0700));
    rig.close(std::move(db));
    rename(rig.path.c_str(), file.c_str());
    rename((rig.path + "-wal").c_str(), (file + "-wal").c_str());
    rmdir((rig.dir + "/later").c_str());
    rig.path = file;
  }
  failpoint::arm("");
  auto db = rig.open();
  CHECK_FALSE(rig.aside(1));
  REQUIRE(db->pods().size() == 2);
  CHECK(*db->pods()[0] == *pod("u1", "Running", 1));
  CHECK(*db->pods()[1] == *pod("u2", "Failed", 2));
  rig.close(std::move(db));
}

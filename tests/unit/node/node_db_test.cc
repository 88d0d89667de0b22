#include "node/node_db.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/atomic_file.h"

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
    for (const char* suffix : {"", "-wal", "-shm", ".damaged-1"}) unlink((path + suffix).c_str());
    rmdir(dir.c_str());
  }
  std::unique_ptr<NodeDb> open() {
    auto db = NodeDb::open(loop, path, sealer());
    REQUIRE_MESSAGE(db.has_value(), db.error().message);
    return std::move(*db);
  }
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
  CHECK(*db->object("shop/secrets/s") == "hunter2 in the clear");
  CHECK(db->object("shop/secrets/none") == nullptr);
  db->retain_objects({"shop/configmaps/c"});
  rig.close(std::move(db));
  db = rig.open();
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

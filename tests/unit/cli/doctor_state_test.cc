// What limpet doctor finds of the device's state: who holds it, the store, certificates.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/atomic_file.h"
#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/random.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "doctor_rig.h"
#include "pki/certificate.h"
#include "store/check.h"
#include "store/data_dir_lock.h"
#include "store/database.h"
#include "store/entry.h"
#include "store/index.h"

using namespace limpet;
using namespace limpet::cli;
using namespace limpet::cli::doctor;

TEST_CASE("doctor: who holds dataDir") {
  const char* locks =
      "1: POSIX  ADVISORY  WRITE 9 fd:01:55 0 EOF\n2: FLOCK  ADVISORY  READ 8 fd:01:55 0 EOF\n"
      "3: FLOCK  ADVISORY  WRITE 4321 00:2a:55 0 EOF\n3: -> FLOCK  ADVISORY  WRITE 7 00:2a:56 0 EOF\n";
  CHECK_EQ(lock_holders(locks, 55), std::vector<int64_t>{4321});
  CHECK(lock_holders(locks, 56).empty());
  CHECK(lock_holders("", 55).empty());
  CHECK_EQ(lock_holders(
               "1: FLOCK  ADVISORY  WRITE 7 00:2a:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 00:2b:5 0 EOF\n", 5)
               .size(),
           2);
  // What the kernel really writes.
  const std::string dir = "/tmp/limpet-doctor-lock-XXXXXX";
  std::string made = dir;
  REQUIRE(mkdtemp(made.data()) != nullptr);
  CHECK_EQ(data_dir_holder(made), 0);
  {
    const auto lock = store::lock_data_dir(made);
    REQUIRE(lock);
    CHECK_EQ(data_dir_holder(made), getpid());
  }
  CHECK_EQ(data_dir_holder(made), 0);
  // A lock on a file of the same number elsewhere, as the kernel shows it: this process has no such file open
  // in dataDir, so nobody is named.
  struct stat st{};
  REQUIRE(stat((made + "/lock").c_str(), &st) == 0);
  const std::string strange =
      strf("1: FLOCK  ADVISORY  WRITE %d 00:7f:%llu 0 EOF\n2: FLOCK  ADVISORY  WRITE 1 00:7f:%llu 0 EOF\n",
           static_cast<int>(getpid()), static_cast<unsigned long long>(st.st_ino),
           static_cast<unsigned long long>(st.st_ino));
  CHECK_EQ(find_holder(made, strange).pid, 0);
  {
    const int fd = open((made + "/lock").c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    CHECK_EQ(find_holder(made, strange).pid, getpid());
    close(fd);
  }
  unlink((made + "/lock").c_str());
  rmdir(made.c_str());
}

TEST_CASE("doctor: the store is checked without being touched") {
  Rig r;
  CHECK(has(said(check_store(r.m)), "skipped: limpetd has it open"));
  r.m.daemon = {};
  CHECK(has(said(check_store(r.m)), "skipped: There is no store yet"));
  r.put("/var/lib/limpet/limpet.db.made", "");
  CHECK(has(said(check_store(r.m)), "is missing or empty, though this device had one"));
  r.remove("/var/lib/limpet/limpet.db.made");
  r.put("/var/lib/limpet/x", "");
  const std::string file = r.root + "/var/lib/limpet/limpet.db";
  {
    auto db = store::Database::open(file, 1 << 20);
    REQUIRE(db);
    store::Batch batch;
    const std::string keys[] = {"", "k1", "k2", "k3"};
    const std::string values[] = {"", store::to_stored("value 1"), store::to_stored("value 2"),
                                  store::to_stored("value 3")};
    for (int i = 1; i <= 3; i++) {
      store::Change c;
      c.id = store::row_id(i, 0);
      c.key = keys[i];
      c.created = i;
      c.time = now_s + i;
      c.stored = values[i];
      c.value = std::make_shared<std::string>("value " + std::to_string(i));
      batch.changes.push_back(std::move(c));
    }
    std::vector<SharedBytes> previous;
    REQUIRE((*db)->write({}, batch.changes, previous));
    // Not closed: what a power cut leaves.
    const std::string wal = read_file(file + "-wal", 1 << 20).value_or("");
    REQUIRE_FALSE(wal.empty());
    CHECK_EQ(said(check_store(r.m)),
             "ok: The store is whole: 3 rows, revision 3; limpetd was not stopped cleanly.");
    CHECK_EQ(r.m.last_write, now_s + 3);
    CHECK_EQ(read_file(file + "-wal", 1 << 20).value_or(""), wal);
    REQUIRE((*db)->close());
  }
  CHECK_EQ(said(check_store(r.m)), "ok: The store is whole: 3 rows, revision 3.");
  const auto too_large = store::check_database(file, {"/tmp"}, 10);
  REQUIRE_FALSE(too_large);
  CHECK(too_large.error().code == Errc::too_large);
  const auto nowhere = store::check_database(file, {"/nowhere"}, 1 << 20);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().code == Errc::exhausted);
  const std::string good = read_file(file, 1 << 20).value_or("");
  // What nobody holds any more goes, what is not a copy stays.
  r.put("/var/lib/limpet/limpet-check-abcdef/db", "of a killed process");
  r.put("/var/lib/limpet/limpet-check-held/db", "of a living process");
  r.put("/var/lib/limpet/limpet-check-file", "somebody's");
  {
    const UniqueFd held(open((r.root + "/var/lib/limpet/limpet-check-held").c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(flock(held.get(), LOCK_EX | LOCK_NB) == 0);
    CHECK(has(said(check_store(r.m)), "ok: The store is whole"));
  }
  CHECK_FALSE(exists(r.m, "/var/lib/limpet/limpet-check-abcdef"));
  CHECK(exists(r.m, "/var/lib/limpet/limpet-check-held/db"));
  CHECK(exists(r.m, "/var/lib/limpet/limpet-check-file"));
  CHECK(has(said(check_store(r.m)), "ok: The store is whole"));
  CHECK_FALSE(exists(r.m, "/var/lib/limpet/limpet-check-held"));
  r.remove("/var/lib/limpet/limpet-check-file");
  std::string bad = good;
  bad[bad.find("value 2") + 6] = '9';
  r.put("/var/lib/limpet/limpet.db", bad);
  const std::string told = said(check_store(r.m));
  CHECK(has(told, "problem: The store is damaged: "));
  CHECK(has(told, file));
  CHECK_FALSE(has(told, "limpet-check"));
  // Damage while limpetd starts is no damage.
  r.m.holder = [] { return int64_t{5}; };
  CHECK(has(said(check_store(r.m)), "skipped: The store was not checked: limpetd began to use it"));
  r.m.holder = nullptr;
  // user_version, at byte 60 of a database: of a limpet to come.
  std::string newer = good;
  newer[63] = 99;
  r.put("/var/lib/limpet/limpet.db", newer);
  const std::string of_newer = said(check_store(r.m));
  CHECK(has(of_newer, "problem: The store was not checked: "));
  CHECK(has(of_newer, "schema version 99"));
  CHECK(has(of_newer, "install the version of limpet that wrote it"));
  CHECK_FALSE(has(of_newer, "remove the store"));
  r.put("/var/lib/limpet/limpet.db",
        "no database at all, and long enough to have a header of one: " + std::string(200, 'x'));
  CHECK(has(said(check_store(r.m)), "problem: The store could not be checked: "));
  CHECK_FALSE(has(said(check_store(r.m)), "remove the store"));
  CHECK_EQ(names_in(r.m, "/var/lib/limpet").size(), 2);
}

TEST_CASE("a check that is killed leaves no copy behind, or one that the next check takes away") {
  Rig r;
  const std::string directory = r.root + "/var/lib/limpet", file = directory + "/limpet.db";
  r.put("/var/lib/limpet/lock", "");
  {
    auto db = store::Database::open(file, size_t{1} << 40);
    REQUIRE(db);
    REQUIRE((*db)->close());
  }
  const auto copies = [&] {
    std::vector<std::string> names = list_directory(directory);
    std::erase_if(names, [](const std::string& n) { return !n.starts_with("limpet-check-"); });
    return names.size();
  };
  const auto killed_at = [&](const char* point) {
    const pid_t child = fork();
    if (child == 0) {
      failpoint::arm(point + std::string("=kill"));
      (void)store::check_database(file, {directory}, 1 << 20);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  };
  REQUIRE(killed_at("store.check.copied"));
  CHECK(copies() == 1);
  REQUIRE(store::check_database(file, {directory}, 1 << 20));
  CHECK(copies() == 0);
  REQUIRE(killed_at("store.check.opened"));
  CHECK(copies() == 0);
  // Also where there is nothing to check any more.
  REQUIRE(killed_at("store.check.copied"));
  REQUIRE_FALSE(store::check_database(file, {directory}, 1));
  CHECK(copies() == 0);
}

TEST_CASE("doctor: a copy of the store does not outlive a signal, and its Secrets can be read") {
  Rig r;
  r.put("/var/lib/limpet/x", "");
  const std::string dir = r.root + "/var/lib/limpet", file = dir + "/limpet.db";
  auto db = store::Database::open(file, 1 << 20);
  REQUIRE(db);
  store::Batch batch;
  const std::string stored[] = {store::to_stored("one"), store::to_stored("two")};
  const std::string keys[] = {"pods/default/a", "secrets/default/b"};
  for (int i = 0; i < 2; i++) {
    store::Change c;
    c.id = store::row_id(i + 1, 0);
    c.key = keys[i];
    c.created = i + 1;
    c.time = now_s;
    c.stored = stored[i];
    c.value = std::make_shared<std::string>(i == 0 ? "one" : "two");
    batch.changes.push_back(std::move(c));
  }
  std::vector<SharedBytes> previous;
  REQUIRE((*db)->write({}, batch.changes, previous));
  REQUIRE((*db)->close());
  const auto secrets = store::read_values(file, {dir}, 1 << 20, "secrets/");
  REQUIRE(secrets);
  CHECK_EQ(*secrets, std::vector<std::string>{"two"});
  // Stopped while the copy is there: the log is a pipe that nobody writes to.
  unlink((file + "-wal").c_str());
  REQUIRE(mkfifo((file + "-wal").c_str(), 0600) == 0);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGINT, SIG_DFL);
    (void)store::check_database(file, {dir}, 1 << 20);
    _exit(0);
  }
  const auto copies = [&] {
    size_t n = 0;
    for (const std::string& name : names_in(r.m, "/var/lib/limpet")) n += name.starts_with("limpet-check-");
    return n;
  };
  for (int i = 0; i < 500 && copies() == 0; i++) usleep(10'000);
  CHECK_EQ(copies(), 1);
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(copies(), 0);
}

TEST_CASE("doctor: certificates") {
  Rig r;
  CHECK(has(said(check_certificates(r.m)), "skipped: There are none yet."));
  SystemRandom random;
  const auto key = pki::PrivateKey::generate(random);
  REQUIRE(key);
  const auto write = [&](const std::string& name, int64_t from, int64_t to) {
    const auto pem = pki::make_ca("test", *key, {from, to}, random);
    REQUIRE(pem);
    r.put("/var/lib/limpet/pki/" + name, *pem);
    return *pem;
  };
  constexpr int64_t day = 86'400;
  write("ca.crt", now_s - day, now_s + 3650 * day);
  write("serving.crt", now_s - day, now_s + 300 * day);
  const std::string admin = write("admin.crt", now_s - day, now_s + 300 * day);
  CHECK(has(said(check_certificates(r.m)), "warning: /etc/limpet/admin.kubeconfig is missing."));
  r.put("/etc/limpet/admin.kubeconfig",
        "users:\n- user:\n    client-certificate-data: " + base64_encode(admin) + "\n");
  CHECK(has(said(check_certificates(r.m)),
            "ok: Valid: ca until 2035-12-30, serving until 2026-10-28, admin until 2026-10-28, "
            "/etc/limpet/admin.kubeconfig until 2026-10-28."));
  write("serving.crt", now_s - 400 * day, now_s - 35 * day);
  write("admin.crt", now_s - 400 * day, now_s + 5 * day);
  write("ca.crt", now_s + 35 * day, now_s + 3650 * day);
  const std::string told = said(check_certificates(r.m));
  CHECK(has(told,
            "problem: The certificate ca is not valid before 2026-02-05T00:00:00Z: the clock is behind. | "
            "Set the clock."));
  CHECK(has(told, "problem: The certificate serving ended on 2025-11-27."));
  CHECK(has(told, "warning: The certificate admin ends on 2026-01-06 (in 5 days)."));
  r.put("/var/lib/limpet/pki/ca.crt", "rubbish");
  CHECK(has(said(check_certificates(r.m)), "problem: The certificate ca cannot be read"));

  Rig agent;
  const auto pem = [&](int64_t to) { return pki::make_ca("test", *key, {now_s - day, to}, random).value(); };
  agent.put("/var/lib/limpet/pki/ca.crt", pem(now_s + 3650 * day));
  agent.put("/var/lib/limpet/pki/node.crt", pem(now_s + 300 * day));
  CHECK(has(said(check_certificates(agent.m)), "ok: Valid: ca until 2035-12-30, device until 2026-10-28."));
  agent.put("/var/lib/limpet/pki/node.crt", pem(now_s + 5 * day));
  CHECK(has(said(check_certificates(agent.m)),
            "warning: The certificate device ends on 2026-01-06 (in 5 days)."));
}

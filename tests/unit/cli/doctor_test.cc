// Every finding of limpet doctor but those of the state (doctor_state_test.cc), rigged in a tree of files.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../skip.h"
#include "cli/command_doctor.h"
#include "cli/doctor/apart.h"
#include "doctor_rig.h"
#include "store/data_dir_lock.h"

using namespace limpet;
using namespace limpet::cli;
using namespace limpet::cli::doctor;

TEST_CASE("doctor: a device in order has nothing but ok") {
  Rig r;
  for (const auto check : {check_clock, check_disk, check_kernel, check_cgroups, check_runtime, check_nft,
                           check_routes, check_daemon}) {
    const Findings f = check(r.m);
    CAPTURE(said(f));
    for (const Finding& each : f) CHECK(each.level == Level::ok);
  }
  CHECK_EQ(said(check_runtime(r.m)), "ok: crun 1.14 (/usr/bin/crun) has no known escape.");
  CHECK_EQ(said(check_daemon(r.m)), "ok: limpetd (pid 77) is ready; 0 containers run.");
  CHECK_EQ(said(check_routes(r.m)),
           "ok: The device has 192.0.2.7, a default route, and the name server 192.0.2.1.");
}

TEST_CASE("doctor: scheduled backups") {
  Rig r;
  CHECK_EQ(said(check_backup(r.m)), "skipped: No scheduled backups are configured.");
  r.m.config.backup.directory = "/mnt/usb/backups";
  r.m.config.backup.recipient_file = "/etc/limpet/k.pub";
  CHECK(has(said(check_backup(r.m)), "warning: The directory for backups, /mnt/usb/backups, is not there."));
  r.put("/mnt/usb/backups/limpet-nonsense.backup", "");
  CHECK(has(said(check_backup(r.m)), "problem: The public key that backups are sealed for"));
  r.put("/etc/limpet/k.pub", "");
  CHECK(has(said(check_backup(r.m)), "warning: There is no scheduled backup yet"));
  for (const char* name :
       {"limpet-30313233-20251230T171200Z-r9.backup", "limpet-30313233-20251231T171200Z-r12.backup",
        "limpet-30313233-2O271231T171200Z-r12.backup", "limpet-30313233-20271231T171200Z-r12.part"})
    r.put(std::string("/mnt/usb/backups/") + name, "");
  CHECK_EQ(said(check_backup(r.m)), "ok: The newest backup in /mnt/usb/backups is of 2025-12-31T17:12:00Z.");
}

TEST_CASE("doctor: the clock") {
  Rig r;
  r.m.synchronised = false;
  CHECK(has(said(check_clock(r.m)),
            "warning: The clock reads 2026-01-01T00:00:00Z and follows no time server."));
  r.m.last_write = now_s + 400 * 86'400;
  CHECK(has(
      said(check_clock(r.m)),
      "warning: The clock reads 2026-01-01T00:00:00Z, but the last write of limpetd is dated 2027-02-05"));
  r.m.clock = {0, 0};
  CHECK(has(said(check_clock(r.m)),
            "problem: The clock reads 1970-01-01T00:00:00Z, which is before this program was built"));
}

TEST_CASE("doctor: space, inodes, read-only") {
  Rig r;
  const auto first = [&] { return said({check_disk(r.m)[0]}); };
  r.space.free = 10LL << 30;
  CHECK(has(first(), "warning: 10 GiB of 100 GiB (10%) free for dataDir (/var/lib/limpet)."));
  r.space.free = 2LL << 30;
  CHECK(has(first(), "problem: 2.0 GiB of 100 GiB (2%)"));
  r.space = {100 << 20, 50 << 20, 1000, 900, false};
  CHECK(has(first(), "problem: 50 MiB of 100 MiB (50%)"));
  r.space = {100LL << 30, 50LL << 30, 1000, 50, false};
  CHECK(has(first(), "warning: 5% of the inodes are free"));
  r.space.free_inodes = 10;
  CHECK(has(first(), "problem: 1% of the inodes are free"));
  r.space.inodes = 0;
  CHECK(has(first(), "ok: "));
  r.space.read_only = true;
  CHECK(has(first(), "problem: The file system of dataDir (/var/lib/limpet) is mounted read-only."));
  r.m.space = [](const std::string&) { return std::optional<Space>(); };
  CHECK(has(first(), "warning: How full"));
  CHECK_EQ(check_disk(r.m).size(), 2);
}

TEST_CASE("doctor: wear of eMMC") {
  Rig r;
  CHECK(has(said(check_wear(r.m)), "skipped: No disk of this device tells"));
  r.put("/sys/block/sda/device/life_time", "0x0b 0x0b\n");  // no eMMC
  CHECK(has(said(check_wear(r.m)), "skipped: "));
  struct Row {
    const char *life, *eol, *expected;
  };
  const Row rows[] = {
      {"0x01 0x02\n", "0x01\n", "ok: mmcblk0 has used up to 20% of its life."},
      {"0x09 0x01\n", "0x01\n", "warning: mmcblk0 has used up to 90% of its life. |"},
      {"0x0b 0x01\n", "0x01\n", "problem: mmcblk0 has outlived what it was built for. |"},
      {"0x01 0x01\n", "0x02\n",
       "warning: mmcblk0 has used up to 10% of its life. 80% of its spare blocks are used. |"},
      {"0x00 0x00\n", "0x03\n",
       "problem: mmcblk0 does not tell how much of its life is used. Nearly all its spare"},
      {"nonsense\n", "", "skipped: "}};
  for (const Row& row : rows) {
    r.put("/sys/block/mmcblk0/device/life_time", row.life);
    r.put("/sys/block/mmcblk0/device/pre_eol_info", row.eol);
    CHECK(has(said(check_wear(r.m)), row.expected));
  }
}

TEST_CASE("doctor: what the kernel lacks") {
  Rig r;
  r.put("/proc/sys/net/ipv4/ip_forward", "0\n");
  CHECK(has(said(check_kernel(r.m)), "problem: net.ipv4.ip_forward is 0"));
  r.m.daemon.pid = 0;  // nobody has set it yet
  CHECK_FALSE(has(said(check_kernel(r.m)), "ip_forward"));
  r.put("/proc/filesystems", "ext4\n");
  CHECK(has(said(check_kernel(r.m)), "problem: The kernel 6.1.0-test lacks: overlayfs."));
  r.put("/lib/modules/6.1.0-test/modules.dep",
        "kernel/fs/overlayfs/overlay.ko.xz:\nkernel/drivers/net/veth.ko.xz:\n");
  CHECK(has(said(check_kernel(r.m)), "ok: "));
  r.remove("/sys/class/net/limpet0/x");
  rmdir((r.root + "/sys/class/net/limpet0").c_str());
  CHECK(has(said(check_kernel(r.m)), "lacks: bridge."));
  r.remove("/lib/modules/6.1.0-test/modules.dep");
  r.put("/proc/filesystems", "nodev\toverlay\n");
  CHECK(
      has(said(check_kernel(r.m)), "skipped: Whether the kernel 6.1.0-test has bridge, veth cannot be told"));
  r.put("/sys/module/bridge/x", "");
  r.put("/sys/module/veth/x", "");
  CHECK(has(said(check_kernel(r.m)), "ok: "));
  r.remove("/proc/self/ns/net");
  r.put("/proc/self/status", "Name:\tx\n");
  CHECK(has(said(check_kernel(r.m)), "lacks: net namespaces, seccomp."));
}

TEST_CASE("doctor: control groups") {
  Rig r;
  CHECK_EQ(said(check_cgroups(r.m)), "ok: Control groups v2 with cpu, memory and pids.");
  r.put("/sys/fs/cgroup/cgroup.controllers", "cpu pids\n");
  CHECK(has(said(check_cgroups(r.m)),
            "problem: The control groups (v2) lack the controllers: memory. | Many boards"));
  const std::string v1 =
      "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n33 24 0:29 / /sys/fs/cgroup/pids rw - "
      "cgroup cgroup rw,pids\n";
  r.put("/proc/self/mountinfo", v1);
  r.put("/proc/cgroups",
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t1\npids\t3\t1\t1\n");
  CHECK(has(said(check_cgroups(r.m)), "warning: Control groups are v1: it works"));
  r.put("/proc/cgroups",
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t0\npids\t3\t1\t1\n");
  CHECK(has(said(check_cgroups(r.m)), "problem: The control groups (v1) lack the controllers: memory."));
  r.put("/proc/cgroups", "cpu\t1\t1\t1\nmemory\t2\t1\t1\npids\t3\t1\t1\n");
  r.put("/proc/self/mountinfo", v1 + "34 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  CHECK(has(said(check_cgroups(r.m)),
            "problem: Control groups are v1 with an extra v2 mount, which crun refuses."));
  r.put("/usr/sbin/runc", "");
  CHECK(has(said(check_cgroups(r.m)), "warning: Control groups are v1 with an extra v2 mount"));
  r.put("/proc/self/mountinfo", "");
  CHECK(has(said(check_cgroups(r.m)), "problem: No control groups are mounted"));
}

TEST_CASE("doctor: known escapes by version, and what distributions fixed") {
  struct Row {
    const char *program, *version, *package, *open, *backport;
  };
  const char* of_2025 = "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881";
  const Row rows[] = {
      {"runc", "1.0.0-rc6", "",
       "CVE-2019-5736, CVE-2021-30465, CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", ""},
      {"runc", "1.0.0~rc93+ds1", "1.0.0~rc93+ds1-5+deb11u5",
       "CVE-2021-30465, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", "CVE-2024-21626"},
      {"runc", "1.0.0-rc95", "", "CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", ""},
      {"runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1", of_2025, "CVE-2024-21626"},
      {"runc", "1.1.5+ds1", "1.1.5+ds1-1", "CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881",
       ""},
      {"runc", "1.1.12", "", of_2025, ""},
      {"runc", "1.2.7", "", of_2025, ""},
      {"runc", "1.2.8", "", "", ""},
      {"runc", "1.3.0", "", of_2025, ""},
      {"runc", "1.3.3", "", "", ""},
      {"runc", "1.4.0-rc.2", "", of_2025, ""},
      {"runc", "1.4.0-rc.3", "", "", ""},
      {"runc", "1.4.0", "", "", ""},
      {"crun", "0.10.4", "", "CVE-2019-18837", ""},
      {"crun", "1.8.1", "1.8.1-1+deb12u1", "", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.version);
    const Escapes e = known_escapes(row.program, row.version, row.package);
    CHECK_EQ(e.open, row.open);
    CHECK_EQ(e.backport, row.backport);
  }
}

TEST_CASE("doctor: the runtime and nft") {
  Rig r;
  r.remove("/usr/bin/crun");
  CHECK(has(said(check_runtime(r.m)), "problem: There is no OCI runtime: crun or runc is not installed."));
  r.put("/usr/sbin/runc", "");
  r.put("/var/lib/dpkg/info/runc.list", "/.\n/usr/sbin/runc\n");
  r.put("/var/lib/dpkg/status",
        "Package: crunch\nVersion: 9\n\nPackage: runc\nStatus: install ok installed\nVersion: "
        "1.1.5+ds1-1+deb12u1\n\n");
  r.m.run = [](std::vector<std::string>) { return Ran{true, true, "runc version 1.1.5+ds1\ncommit: x\n"}; };
  CHECK(has(said(check_runtime(r.m)),
            "warning: runc 1.1.5+ds1 (/usr/sbin/runc) may be affected by CVE-2025-31133, CVE-2025-52565, "
            "CVE-2025-52881, unless "
            "your distribution has fixed that without a new version. |"));
  r.m.run = [](std::vector<std::string>) { return Ran{true, false, "cannot execute"}; };
  CHECK(has(said(check_runtime(r.m)), "problem: /usr/sbin/runc does not work: cannot execute."));
  CHECK(has(said(check_nft(r.m)), "problem: nft does not work: cannot execute."));
  r.m.run = [](std::vector<std::string>) { return Ran{true, false, "netlink: Operation not permitted"}; };
  CHECK_EQ(said(check_nft(r.m)), "skipped: Only root may ask nft.");
  r.m.run = [](std::vector<std::string>) { return Ran{true, true, ""}; };
  CHECK(has(said(check_nft(r.m)), "warning: The table limpet is not in the kernel's rules."));
  r.remove("/usr/sbin/nft");
  CHECK(has(said(check_nft(r.m)), "problem: The program nft is missing"));
  r.m.config.network.mode = "none";
  CHECK(has(said(check_nft(r.m)), "skipped: "));
  r.m.config.runtime.path = "/opt/mine";
  CHECK(has(said(check_runtime(r.m)), "problem: There is no OCI runtime: /opt/mine is not installed."));
}

TEST_CASE("doctor: limpetd dead, stuck, not ready; containers without it") {
  Rig r;
  r.m.daemon = {77, true, false, "node: taking over"};
  CHECK(has(said(check_daemon(r.m)), "problem: limpetd (pid 77) is not ready: node: taking over."));
  r.m.daemon.answers = false;
  CHECK(
      has(said(check_daemon(r.m)),
          "problem: limpetd (pid 77) holds /var/lib/limpet but does not answer on /run/limpet/limpet.sock."));
  r.m.daemon = {};
  CHECK(
      has(said(check_daemon(r.m)), "limpetd does not run. | Start it as it was started before (limpetd); "));
  r.put("/run/systemd/system/x", "");
  CHECK_EQ(said(check_daemon(r.m)),
           "problem: limpetd does not run. | Start it: systemctl start limpetd; its log tells why it ended: "
           "journalctl -u limpetd.");
  using namespace std::literals;
  r.put("/proc/12/cmdline", "/usr/local/bin/limpet-shim\0run\0dir=/run/limpet/containers/x\0"sv);
  r.put("/proc/13/cmdline", "/usr/local/bin/limpet-shim\0run\0dir=/run/other/containers/x\0"sv);
  r.put("/proc/14/cmdline", "sh\0limpet-shim\0dir=/run/limpet/\0"sv);
  CHECK(has(said(check_daemon(r.m)), "warning: 1 container runs on without limpetd"));
  r.put("/usr/bin/journalctl", "");
  r.m.run = [](std::vector<std::string>) { return Ran{true, true, "<3>store: disk full\n"}; };
  CHECK(has(said(check_daemon(r.m)).substr(0, 80),
            "limpetd does not run. Its last words: <3>store: disk full"));
}

TEST_CASE("doctor: who may not know is told so, and nothing else") {
  Rig r;
  r.put("/var/lib/limpet/limpet.db", "x");
  r.m.daemon = {0, false, true, ""};
  CHECK_EQ(said(check_daemon(r.m)),
           "skipped: Only root or a member of the group limpet may tell whether limpetd runs.");
  CHECK_EQ(said(check_store(r.m)), "skipped: Only root may read /var/lib/limpet.");
  // A member of the group does not see the lock, but gets an answer.
  r.m.daemon = {0, true, true, ""};
  CHECK_EQ(said(check_daemon(r.m)), "ok: limpetd is ready; 0 containers run.");
  CHECK(has(said(check_store(r.m)), "skipped: limpetd has it open"));
  if (geteuid() != 0) SKIP_TEST("needs root");
  // Of a real directory, as another user.
  REQUIRE(chmod((r.root + "/var/lib/limpet").c_str(), 0700) == 0);
  REQUIRE(chmod(r.root.c_str(), 0755) == 0);
  const auto lock = store::lock_data_dir(r.root + "/var/lib/limpet");
  REQUIRE(lock);
  const auto other = apart(5000, [&]() -> std::string {
    if (setgid(65534) != 0 || setuid(65534) != 0) return "cannot";
    const Holder holder = find_holder(r.root + "/var/lib/limpet");
    return strf("%lld %d", static_cast<long long>(holder.pid), holder.forbidden);
  });
  CHECK_EQ(other.value_or("nothing"), "0 1");
}

TEST_CASE("doctor: what hangs is given up, told, and leaves the rest to be found") {
  CHECK_EQ(apart(5000, [] { return std::string(300'000, 'x'); }).value_or("").size(), 300'000);
  CHECK_FALSE(apart(50, [] {
    sleep(30);
    return std::string();
  }));
  CHECK_FALSE(apart(5000, []() -> std::string { _exit(3); }));
  Rig r;
  r.m.patience_ms = 200;
  // Opening a pipe without a writer takes for ever.
  r.remove("/proc/net/route");
  REQUIRE(mkfifo((r.root + "/proc/net/route").c_str(), 0600) == 0);
  std::vector<std::string> told;
  const Findings found = examine(r.m, [&](const Finding& f) { told.emplace_back(f.check); });
  CHECK_EQ(told.size(), found.size());
  bool seen = false;
  for (const Finding& f : found) {
    if (std::string_view(f.check) != "network") continue;
    seen = true;
    CHECK(has(said({f}), "problem: This check did not answer in 1 s"));
  }
  CHECK(seen);
  CHECK_EQ(told.back(), "registries");
}

TEST_CASE("doctor: routes and registries") {
  Rig r;
  r.put("/proc/net/route", "Iface\tDestination\tGateway\neth0\t000200C0\t00000000\n");
  CHECK(has(said(check_routes(r.m)), "warning: The device (192.0.2.7) has no default route"));
  r.put("/proc/net/ipv6_route",
        std::string(32, '0') + " 00 " + std::string(32, '0') + " 00 fe 00000001 eth0\n");
  CHECK(has(said(check_routes(r.m)), "ok: "));
  r.m.addresses = {"127.0.0.1", "::1"};
  r.put("/etc/resolv.conf", "search example\n#nameserver 1.2.3.4\n");
  CHECK(has(said(check_routes(r.m)), "warning: The device has no address but its loopback."));
  CHECK(has(said(check_routes(r.m)), "warning: /etc/resolv.conf names no name server"));

  CHECK(has(said(check_registries(r.m)), "skipped: No pod and no mirror is known"));
  std::vector<std::string> asked;
  r.m.ask_registries = [&](const std::vector<std::string>& names) {
    asked = names;
    std::vector<Ways> out;
    for (const std::string& name : names) {
      const std::string why = name.starts_with("bad") ? "refused" : "";
      out.push_back({{"mirror", name == "half" ? "silent" : why, false},
                     {name, name == "forged" ? "certificate of forged is for x" : why, name == "forged"}});
    }
    return out;
  };
  r.m.registries = {"bad:5000"};
  r.m.config.registries.mirrors["half"] = {"http://mirror/path"};
  r.m.config.proxy.https = "http://user:secret@proxy:3128";
  r.m.pod_registries = {"bad", "half", "good"};
  const std::string told = said(check_registries(r.m));
  CHECK(asked == std::vector<std::string>{"bad:5000", "half", "bad", "good"});
  CHECK(has(told, "problem: bad:5000 cannot be reached: mirror: refused; bad:5000: refused. | Check that"));
  CHECK(has(told, "warning: half answers at half, but not everywhere: mirror: silent."));
  CHECK(has(told, "warning: bad cannot be reached"));
  CHECK(has(told, "ok: good answers (mirror, good)."));
  r.m.pod_registries.emplace_back("forged");
  CHECK(has(said(check_registries(r.m)), "skipped: 1 further ones were"));
  r.m.registries = {"forged"};
  CHECK(has(said(check_registries(r.m)), "forged: certificate of forged is for x. | Check the clock; name"));
}

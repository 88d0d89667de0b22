#include "cli/reset.h"
#include "../skip.h"
#include "base/tree.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "cli/reset_parts.h"
#include "cli/reset_unit.h"
#include "net/pod_networks.h"
#include "node/runtime/rootfs.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

const std::string uid = "01234567-89ab-cdef-0123-456789abcdef";
const std::string other = "11111111-89ab-cdef-0123-456789abcdef";

struct Directory {
  std::string path = "/tmp/limpet-reset-test-XXXXXX";
  Directory() { REQUIRE(mkdtemp(path.data()) != nullptr); }
  ~Directory() { CHECK(remove_tree(path).has_value()); }
  void put(const std::string& name, std::string_view text = "x") {
    const std::string whole = path + "/" + name;
    REQUIRE(make_directories(whole.substr(0, whole.rfind('/')), 0755));
    REQUIRE(write_file_atomic(whole, text, 0600));
  }
  void make(const std::string& name) { REQUIRE(make_directories(path + "/" + name, 0755)); }
  bool has(const std::string& name) const {
    struct stat st;
    return lstat((path + "/" + name).c_str(), &st) == 0;
  }
  std::string text(const std::string& name) const {
    return read_file(path + "/" + name, 4096).value_or("(none)");
  }
  // A device whose places are in here and whose groups and links are nobody's.
  DeviceConfig device() const {
    DeviceConfig device;
    device.config = daemon::check_config("").config;
    device.config.network.mode = "none";
    device.config.cgroup_root = "limpet-reset-test-that-is-not-there";
    device.config.data_dir = path + "/data";
    device.config.run_dir = path + "/run";
    device.config.logs.dir = path + "/logs";
    device.config.admin_kubeconfig = path + "/etc/admin.kubeconfig";
    device.config.manifests_dir = path + "/etc/manifests";
    device.paths = daemon::derive_paths(device.config);
    return device;
  }
};

bool mentions(const std::vector<std::string>& sentences, const std::string& words) {
  return std::any_of(sentences.begin(), sentences.end(),
                     [&](const std::string& s) { return s.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("reset: mounts below our places, the last first, never the places themselves") {
  const char* info =
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "30 22 8:2 / /var/lib/limpet rw - ext4 /dev/sda2 rw\n"
      "31 22 0:40 / /run/limpet rw - tmpfs tmpfs rw\n"
      "32 31 0:41 / /run/limpet/pods/a/ns/net rw - nsfs nsfs rw\n"
      "33 30 0:42 / /var/lib/limpet/containers/b\\040c/root rw - overlay overlay rw\n"
      "34 22 0:43 / /run/limpetother/x rw - tmpfs tmpfs rw\n";
  CHECK(mounts_below(info, {"/run/limpet", "/var/lib/limpet"}) ==
        std::vector<std::string>{"/var/lib/limpet/containers/b c/root", "/run/limpet/pods/a/ns/net"});
  CHECK(mounts_below(info, {"/"}).empty());
  CHECK(mounts_below("", {"/run/limpet"}).empty());
  CHECK(mounts_below("broken\n", {"/run/limpet"}).empty());
}

TEST_CASE("reset: directories of pod logs by their name") {
  CHECK(is_pod_log("default_web_01234567-89ab-cdef-0123-456789abcdef"));
  CHECK_FALSE(is_pod_log("web_01234567-89ab-cdef-0123-456789abcdef"));
  CHECK_FALSE(is_pod_log("default_web_01234567-89ab-cdef-0123-456789abcdeg"));
  CHECK_FALSE(is_pod_log("default_web_0123"));
  CHECK_FALSE(is_pod_log("important"));
}

TEST_CASE("reset: real paths, also of what is not there") {
  Directory d;
  d.make("real/deep");
  REQUIRE(symlink("real", (d.path + "/link").c_str()) == 0);
  CHECK_EQ(real_path(d.path + "/link/deep/"), d.path + "/real/deep");
  CHECK_EQ(real_path(d.path + "/link//deep/./"), d.path + "/real/deep");
  CHECK_EQ(real_path(d.path + "/link/new/er/"), d.path + "/real/new/er");
  CHECK_EQ(real_path("/"), "/");
}

TEST_CASE("reset: directories of the whole system are refused, by whatever name") {
  for (const char* path : {"/", "/etc", "/run", "/data", "/var/lib", "/usr/lib", "/proc/1", "/etc/pki"}) {
    CAPTURE(path);
    CHECK(is_system_directory(path));
  }
  for (const char* path : {"/var/lib/limpet", "/run/limpet", "/data/limpet", "/usr/local/limpet"}) {
    CAPTURE(path);
    CHECK_FALSE(is_system_directory(path));
  }
  Directory d;
  DeviceConfig device = d.device();
  CHECK_EQ(reset_refusal(device), "");
  REQUIRE(symlink("/var/lib", (d.path + "/lib").c_str()) == 0);
  device.paths.data_dir = d.path + "/lib/";
  CHECK(reset_refusal(device).starts_with("dataDir is " + d.path + "/lib/, a directory of the whole system"));
  device = d.device();
  device.paths.run_dir = "/run/";
  CHECK(reset_refusal(device).starts_with("runDir is /run/"));
}

TEST_CASE("reset: only what is limpet's goes, and it can be done again") {
  Directory d;
  const DeviceConfig device = d.device();
  const std::string config_file = d.path + "/etc/limpetd.yaml";
  d.put("data/lock", "pid 1 on host edge\n");
  const std::string log = "logs/default_web_" + uid, foreign_log = "logs/default_web_" + other;
  for (const std::string& ours :
       {std::string("data/limpet.db"), std::string("data/limpet.db.reserve"),
        std::string("data/limpet.db.made"), std::string("data/limpet.db.lock"),
        std::string("data/pki/ca.key"), std::string("data/image/x/y"), std::string("data/node.db.damaged-1"),
        std::string("data/.limpet.db.tmp-a1b2c3"), "run/pods/" + uid + "/pod.json",
        "run/pods/" + uid + "/c/i/config.json", std::string("run/leases/a"),
        std::string("etc/admin.kubeconfig"), log + "/app/0.log"})
    d.put(ours);
  const std::vector<std::string> theirs = {
      "data/images/mine.tar", "data/photo.jpg",           "logs/other/x.log",    "etc/limpetd.yaml",
      "etc/manifests/a.yaml", foreign_log + "/app/0.log", "etc/manifests/keys/k"};
  for (const std::string& each : theirs) d.put(each);
  ResetReport report = reset_device(device, config_file, false);
  CHECK(report.failed.empty());
  for (const std::string& gone :
       {std::string("data/limpet.db"), std::string("data/pki"), std::string("data/lock"),
        std::string("data/limpet.db.lock"), std::string("data/.limpet.db.tmp-a1b2c3"), std::string("run"),
        std::string("etc/admin.kubeconfig"), log}) {
    CAPTURE(gone);
    CHECK_FALSE(d.has(gone));
  }
  for (const std::string& each : theirs) {
    CAPTURE(each);
    CHECK(d.has(each));
  }
  REQUIRE_EQ(report.kept.size(), 2);
  CHECK_EQ(report.kept[0], "logs of 1 pod in " + d.path + "/logs that this limpetd does not know");
  CHECK_EQ(report.kept[1], d.path + "/data, since it also holds: images, photo.jpg");
  report = reset_device(device, config_file, true);
  CHECK(report.failed.empty());
  CHECK_FALSE(d.has("etc/limpetd.yaml"));
  CHECK_FALSE(d.has("etc/manifests/a.yaml"));
  CHECK(d.has("etc/manifests/keys/k"));
  CHECK(d.has("data/photo.jpg"));
  report = reset_device(device, config_file, true);
  CHECK(report.failed.empty());
  CHECK(report.removed.empty());
}

TEST_CASE("reset: a directory that does not show limpetd's hand keeps what only has the names") {
  Directory d;
  const DeviceConfig device = d.device();
  // As /var/lib and /run of a machine with podman; and a "lock" that is a directory, or says something else.
  for (const char* theirs : {"data/containers/storage/x", "data/pki/tls/key", "data/pods/a", "data/lock/x",
                             "run/netns/x", "run/containers/x", "run/lock", "etc/admin.kubeconfig"})
    d.put(theirs);
  REQUIRE_FALSE(is_data_dir(d.path + "/data"));
  ResetReport report = reset_device(device, d.path + "/none/limpetd.yaml", false);
  CHECK(report.failed.empty());
  CHECK(report.removed.empty());
  CHECK(mentions(report.kept, d.path + "/data, since nothing in it shows that limpetd made it"));
  CHECK(mentions(report.kept, d.path + "/run, since nothing in it shows that limpetd made it"));
  for (const char* theirs : {"data/containers/storage/x", "data/pki/tls/key", "data/lock/x", "run/netns/x",
                             "etc/admin.kubeconfig"})
    CHECK(d.has(theirs));
  REQUIRE(remove_tree(d.path + "/data/lock"));
  d.put("data/lock", "1234\n");
  CHECK_FALSE(is_data_dir(d.path + "/data"));
  d.put("data/limpet.db", "SQLite format 3" + std::string(200, '\0'));  // of another program
  CHECK_FALSE(is_data_dir(d.path + "/data"));
  std::string header = "SQLite format 3" + std::string(85, '\0');
  d.put("data/limpet.db", header.replace(68, 4, "lmpt"));
  CHECK(is_data_dir(d.path + "/data"));
}

TEST_CASE("reset: logs of pods that only node.db knows, and of no database of another program") {
  for (const bool ours : {true, false}) {
    Directory d;
    d.put("data/lock", "pid 1 on host edge\n");
    d.put("logs/default_web_" + uid + "/app/0.log");
    d.put("logs/default_web_" + other + "/app/0.log");
    sqlite3* db = nullptr;
    REQUIRE_EQ(sqlite3_open((d.path + "/data/node.db").c_str(), &db), SQLITE_OK);
    const std::string script =
        strf("PRAGMA application_id=%d; CREATE TABLE record(kind, key); INSERT INTO record VALUES",
             ours ? 0x6c6d6e64 : 1) +
        "('pod','" + uid + "'),('count','" + other + "')";
    REQUIRE_EQ(sqlite3_exec(db, script.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    REQUIRE_EQ(sqlite3_close(db), SQLITE_OK);
    const ResetReport report = reset_device(d.device(), d.path + "/none/limpetd.yaml", false);
    CHECK(report.failed.empty());
    CHECK_EQ(d.has("logs/default_web_" + uid), !ours);
    CHECK(d.has("logs/default_web_" + other));
  }
}

TEST_CASE("reset: behind links and doubled slashes, depth, and links to elsewhere") {
  Directory d;
  d.put("disk/data/lock", "pid 1 on host edge\n");
  d.put("elsewhere/layers/x");
  REQUIRE(symlink("disk/data", (d.path + "/data").c_str()) == 0);
  REQUIRE(symlink("../../elsewhere/layers", (d.path + "/disk/data/containers").c_str()) == 0);
  d.make("run");
  // Deeper than a path can be long: made by descriptors, as a container's shell does with cd.
  d.make("disk/data/pods/" + uid);
  UniqueFd at(open((d.path + "/disk/data/pods/" + uid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int depth = 0; depth < 600; depth++) {
    REQUIRE(mkdirat(at.get(), "a-name-of-some-length", 0755) == 0);
    at = UniqueFd(openat(at.get(), "a-name-of-some-length", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(at);
  }
  DeviceConfig device = d.device();
  device.paths.data_dir = d.path + "//data/";
  const ResetReport report = reset_device(device, d.path + "/none/limpetd.yaml", false);
  CHECK(report.failed.empty());
  CHECK(d.has("elsewhere/layers/x"));
  CHECK(mentions(report.kept, d.path + "/elsewhere/layers, to which the link"));
  CHECK_FALSE(d.has("disk/data/pods"));
  CHECK_FALSE(d.has("disk/data/lock"));
}

TEST_CASE("reset: nothing of a tree goes while something is mounted in it, and the locks stay for the next") {
  Directory d;
  d.put("data/lock", "pid 1 on host edge\n");
  d.put("data/node.db");
  d.make("data/containers");
  d.put("precious/file");
  // On a name of limpetd itself: where a person gave it a disk of its own.
  if (mount((d.path + "/precious").c_str(), (d.path + "/data/containers").c_str(), nullptr, MS_BIND,
            nullptr) != 0)
    return;  // not root
  const DeviceConfig device = d.device();
  ResetReport report = reset_device(device, d.path + "/none/limpetd.yaml", false);
  CHECK(d.has("precious/file"));
  CHECK(mentions(report.failed, d.path + "/data/containers is mounted"));
  CHECK_FALSE(d.has("data/node.db"));
  CHECK(d.has("data/lock"));
  REQUIRE(umount2((d.path + "/data/containers").c_str(), MNT_DETACH) == 0);
  report = reset_device(device, d.path + "/none/limpetd.yaml", false);
  CHECK(report.failed.empty());
  CHECK_FALSE(d.has("data"));
  CHECK(d.has("precious/file"));
}

TEST_CASE("reset: control groups of our pods only") {
  Directory d;
  const auto groups = node::Cgroups::parse("40 22 0:30 / " + d.path + " rw - cgroup2 cgroup2 rw\n");
  REQUIRE(groups);
  for (const std::string& pod : {uid, other}) d.put("limpet/pod" + pod + "/cgroup.kill", "");
  d.put("limpet/shims/cgroup.kill", "");
  d.put("limpet/cgroup.kill", "");
  d.put("cgroup.kill", "");
  d.make("limpet/pod22222222-89ab-cdef-0123-456789abcdef/container");
  ResetReport report;
  end_groups(*groups, "/limpet", {uid, "22222222-89ab-cdef-0123-456789abcdef", "unknown"}, report);
  CHECK_EQ(d.text("limpet/pod" + uid + "/cgroup.kill"), "1");
  CHECK_FALSE(d.has("limpet/pod22222222-89ab-cdef-0123-456789abcdef"));
  for (const std::string& theirs :
       {"limpet/pod" + other, std::string("limpet/shims"), std::string("limpet"), std::string(".")}) {
    CAPTURE(theirs);
    CHECK_EQ(d.text(theirs + "/cgroup.kill"), "");
  }
  CHECK(mentions(report.kept, "the control group /limpet, since 1 pod in it is not this device's"));
  CHECK(mentions(report.failed, "/limpet/pod" + uid));  // this hierarchy keeps its file
}

TEST_CASE("reset: the whole control group once it holds our pods only") {
  Directory d;
  const auto groups = node::Cgroups::parse("40 22 0:30 / " + d.path + " rw - cgroup2 cgroup2 rw\n");
  REQUIRE(groups);
  for (const std::string& each : {"pod" + uid + "/c", std::string("shims")}) d.make("limpet/" + each);
  d.make("other");
  ResetReport report;
  end_groups(*groups, "/limpet", {uid}, report);
  CHECK(report.failed.empty());
  CHECK(report.kept.empty());
  CHECK_FALSE(d.has("limpet"));
  CHECK(d.has("other"));
  end_groups(*groups, "/limpet", {uid}, report);
  CHECK_EQ(report.removed.size(), 1);
}

namespace {

// A copy of the shell under the program's name, with the word among its own, that ends with its input.
struct Imposter {
  pid_t pid = 0;
  UniqueFd input;
  Imposter(const std::string& program, const std::string& word) {
    int in[2], out[2];
    REQUIRE(pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      execl(program.c_str(), program.c_str(), "-c", "echo; read line", word.c_str(), nullptr);
      _exit(1);
    }
    input = UniqueFd(in[1]);
    close(in[0]);
    close(out[1]);
    char started = 0;
    REQUIRE(read(out[0], &started, 1) == 1);
    close(out[0]);
  }
  bool was_killed() {
    input.reset();
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
};

}  // namespace

TEST_CASE("reset: a shim of our directories is ended, whatever else has its name or its words is not") {
  Directory d;
  const std::string shell = read_file("/bin/sh", 64 << 20).value_or("");
  REQUIRE_FALSE(shell.empty());
  for (const char* name : {"limpet-shim", "not-limpet-shim"}) {
    d.put(name, shell);
    REQUIRE(chmod((d.path + "/" + name).c_str(), 0755) == 0);
  }
  const std::string shim = d.path + "/limpet-shim";
  Imposter ours(shim, "dir=" + d.path + "/run/pods/u/c/i");
  Imposter linked(shim, "dir=/link/run/pods/u/c/i");
  Imposter other_device(shim, "dir=" + d.path + "/run2/pods/u/c/i");
  Imposter not_dir(shim, "logdir=" + d.path + "/run/pods/u/c/i");
  Imposter other_program(d.path + "/not-limpet-shim", "dir=" + d.path + "/run/pods/u/c/i");
  end_shims({d.path + "/run", "/link/run"});
  CHECK(ours.was_killed());
  CHECK(linked.was_killed());
  CHECK_FALSE(other_device.was_killed());
  CHECK_FALSE(not_dir.was_killed());
  CHECK_FALSE(other_program.was_killed());
}

TEST_CASE("reset: a bridge that limpetd made, and others") {
  const net::Ipv4 gateway = *net::parse_ipv4("10.42.0.1");
  net::Link bridge;
  bridge.index = 3;
  bridge.name = "limpet0";
  bridge.kind = "bridge";
  bridge.address = net::hardware_address(gateway);
  net::Link pod;
  pod.index = 4;
  pod.name = net::host_interface(uid);
  pod.kind = "veth";
  pod.master = 3;
  net::Link lan = pod;
  lan.index = 5;
  lan.name = "eth0";
  lan.kind = "";
  const auto use = [&](const std::vector<net::Link>& all) {
    return use_of_bridge(bridge, all, gateway, {uid});
  };
  CHECK(use({bridge}) == BridgeUse::ours);
  CHECK(use({bridge, pod}) == BridgeUse::ours);
  CHECK(use({bridge, pod, lan}) == BridgeUse::other_links);
  lan.master = 0;
  CHECK(use({bridge, pod, lan}) == BridgeUse::ours);
  net::Link foreign = pod;
  foreign.name = net::host_interface(other);  // of another limpetd
  CHECK(use({bridge, pod, foreign}) == BridgeUse::other_pods);
  pod.name = "veth01ab234";  // of another program
  CHECK(use({bridge, pod}) == BridgeUse::other_links);
  bridge.kind = "bond";
  CHECK(use({bridge}) == BridgeUse::other_links);
  bridge.kind = "bridge";
  bridge.address = "\x02\x42\x01\x02\x03\x04";
  CHECK(use({bridge}) == BridgeUse::other_links);
}

TEST_CASE("reset: binds that share their mounts with the machine go without the machine's own") {
  // As limpetd of before made a subPath. In a mount namespace of its own.
  constexpr int cannot = 77;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto tmpfs = [](const char* at) {
      return mkdir(at, 0755) == 0 && mount("t", at, "tmpfs", 0, nullptr) == 0;
    };
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("t", "/tmp", "tmpfs", 0, nullptr) != 0 || !tmpfs("/tmp/host") ||
        mount(nullptr, "/tmp/host", nullptr, MS_SHARED, nullptr) != 0 || !tmpfs("/tmp/host/disk") ||
        !make_directories("/tmp/run/pods/u/c/i/sub/0", 0755) ||
        mount("/tmp/host", "/tmp/run/pods/u/c/i/sub/0", nullptr, MS_BIND | MS_REC, nullptr) != 0)
      _exit(cannot);
    ResetPlaces places;
    places.run_dir = "/tmp/run";
    places.run_ours = true;
    ResetReport report;
    if (!unmount_pods(places, report).empty() || report.removed.size() != 1) _exit(1);
    if (node::is_mounted("/tmp/run/pods/u/c/i/sub/0")) _exit(2);
    _exit(node::is_mounted("/tmp/host/disk") ? 0 : 3);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == cannot) SKIP_TEST("no mount namespace of its own can be had here");
  CHECK_EQ(WEXITSTATUS(status), 0);
}

TEST_CASE("reset: the unit that runs limpetd") {
  CHECK_EQ(service_of_groups("0::/system.slice/limpetd.service\n"), "limpetd.service");
  CHECK_EQ(service_of_groups("0::/system.slice/edge-limpetd.service\n"), "edge-limpetd.service");
  CHECK_EQ(service_of_groups("4:memory:/x\n1:name=systemd:/system.slice/limpetd@a.service\n0::/x\n"),
           "limpetd@a.service");
  CHECK_EQ(service_of_groups("0::/user.slice/session-3.scope\n"), "");
  CHECK_EQ(service_of_groups("0::/limpetd.service/below\n"), "");
  CHECK_EQ(service_of_groups(""), "");

  const std::string usual = "/etc/limpet/limpetd.yaml";
  const auto shown = [](const std::string& state, const std::string& words) {
    return "ActiveState=" + state + "\nExecStart={ path=/usr/bin/limpetd ; argv[]=/usr/bin/limpetd" + words +
           " ; ignore_errors=no ; pid=0 }\n";
  };
  CHECK(unit_starts(shown("activating", ""), usual));
  CHECK(unit_starts(shown("active", " --config /etc/a.yaml"), "/etc/a.yaml"));
  CHECK(unit_starts(shown("active", " --config=/etc/a.yaml"), "/etc/a.yaml"));
  CHECK_FALSE(unit_starts(shown("active", " --config /etc/a.yaml"), usual));
  CHECK_FALSE(unit_starts(shown("activating", ""), "/etc/a.yaml"));
  CHECK_FALSE(unit_starts(shown("inactive", ""), usual));
  CHECK_FALSE(unit_starts(shown("failed", ""), usual));
  CHECK_FALSE(unit_starts("ActiveState=active\n", usual));
  CHECK_FALSE(unit_starts("", usual));
}

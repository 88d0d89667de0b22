#include "cli/reset.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic_file.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

struct Directory {
  std::string path = "/tmp/limpet-reset-test-XXXXXX";
  Directory() { REQUIRE(mkdtemp(path.data()) != nullptr); }
  ~Directory() {
    ResetReport ignored;
    CHECK(remove_tree(path, ignored));
  }
  void put(const std::string& name) {
    const std::string whole = path + "/" + name;
    REQUIRE(make_directories(whole.substr(0, whole.rfind('/')), 0755));
    REQUIRE(write_file_atomic(whole, "x", 0600));
  }
  bool has(const std::string& name) const {
    struct stat st;
    return lstat((path + "/" + name).c_str(), &st) == 0;
  }
};

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

TEST_CASE("reset: a tree goes without following links") {
  Directory d;
  d.put("keep/file");
  d.put("tree/deep/er/file");
  REQUIRE(symlink("../keep", (d.path + "/tree/link").c_str()) == 0);
  ResetReport report;
  CHECK(remove_tree(d.path + "/tree", report));
  CHECK_FALSE(d.has("tree"));
  CHECK(d.has("keep/file"));
  CHECK(remove_tree(d.path + "/tree", report));  // again is fine
  CHECK(report.failed.empty());
}

TEST_CASE("reset: only what is limpet's goes, and it can be done again") {
  Directory d;
  DeviceConfig device;
  device.config = daemon::check_config("").config;
  device.config.network.mode = "none";
  device.config.cgroup_root = "limpet-reset-test-that-is-not-there";
  device.config.data_dir = d.path + "/data";
  device.config.run_dir = d.path + "/run";
  device.config.logs.dir = d.path + "/logs";
  device.config.admin_kubeconfig = d.path + "/etc/admin.kubeconfig";
  device.config.manifests_dir = d.path + "/etc/manifests";
  device.paths = daemon::derive_paths(device.config);
  const std::string config_file = d.path + "/etc/limpetd.yaml";
  for (const char* ours :
       {"data/limpet.db", "data/limpet.db.reserve", "data/pki/ca.key", "data/image/x/y",
        "data/node.db.damaged-1", "data/.limpet.db.tmp-a1b2c3", "run/pods/u/c/i/config.json", "run/leases/a",
        "etc/admin.kubeconfig", "logs/default_web_01234567-89ab-cdef-0123-456789abcdef/app/0.log"})
    d.put(ours);
  for (const char* theirs : {"data/images/mine.tar", "data/photo.jpg", "logs/other/x.log", "etc/limpetd.yaml",
                             "etc/manifests/a.yaml"})
    d.put(theirs);
  ResetReport report = reset_device(device, config_file, false);
  CHECK(report.failed.empty());
  CHECK_FALSE(d.has("data/limpet.db"));
  CHECK_FALSE(d.has("data/pki"));
  CHECK_FALSE(d.has("data/.limpet.db.tmp-a1b2c3"));
  CHECK_FALSE(d.has("run"));
  CHECK_FALSE(d.has("etc/admin.kubeconfig"));
  CHECK_FALSE(d.has("logs/default_web_01234567-89ab-cdef-0123-456789abcdef"));
  for (const char* theirs : {"data/images/mine.tar", "data/photo.jpg", "logs/other/x.log", "etc/limpetd.yaml",
                             "etc/manifests/a.yaml"}) {
    CAPTURE(theirs);
    CHECK(d.has(theirs));
  }
  REQUIRE_EQ(report.kept.size(), 1);
  CHECK_EQ(report.kept[0], d.path + "/data, since it also holds: images, photo.jpg");
  report = reset_device(device, config_file, true);
  CHECK(report.failed.empty());
  CHECK_FALSE(d.has("etc"));
  report = reset_device(device, config_file, true);
  CHECK(report.failed.empty());
  CHECK(report.removed.empty());
}

#include "node/pod/volumes.h"
#include "../skip.h"
#include "base/tree.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "node/runtime/rootfs.h"

using namespace limpet;
using namespace limpet::node;

namespace {

PodSpec pod(const std::string& volumes, const char* more = "") {
  return read_pod_spec(share(
      R"({"metadata":{"name":"web","namespace":"shop","uid":"u","labels":{"b":"2","a":"1"}},"spec":{"volumes":)" +
      volumes + more + "}}"));
}

SharedBytes find(std::string_view kind, std::string_view name) {
  if (kind == "configmaps" && name == "cm")
    return share(R"({"data":{"color":"red","shape":"round"},"binaryData":{"bin":"AAE="}})");
  if (kind == "configmaps" && name == "cm2") return share(R"({"data":{"color":"blue"}})");
  if (kind == "secrets" && name == "s") return share(R"({"data":{"key":"aHVudGVyMg=="}})");
  return nullptr;
}

std::string show(const Result<std::vector<VolumePlan>>& plans) {
  if (!plans) return "!" + plans.error().message;
  std::string out;
  for (const VolumePlan& p : *plans) {
    out += (out.empty() ? "" : " ") + p.name + ":";
    if (p.kind == VolumePlan::Kind::empty_dir) out += "dir";
    if (p.kind == VolumePlan::Kind::memory) out += "memory(" + std::to_string(p.size_limit) + ")";
    if (p.kind == VolumePlan::Kind::host_path) out += "host(" + p.host_path + "," + p.host_path_type + ")";
    for (const VolumeFile& f : p.files) out += strf("[%s %o %zu]", f.path.c_str(), f.mode, f.bytes.size());
  }
  return out;
}

struct Scratch {
  std::string path;
  Scratch() {
    char name[] = "/tmp/limpet-volumes-XXXXXX";
    path = mkdtemp(name);
  }
  ~Scratch() {
    CHECK(remove_volumes({path + "/data", path + "/run"}).has_value());
    CHECK(rmdir(path.c_str()) == 0);  // nothing is left behind
  }
  VolumeDirs dirs() const { return {path + "/data", path + "/run"}; }
};

// What a container with the volume writable could do to it. Never returns.
[[noreturn]] void swap_versions_for_links(const std::string& dir, const char* target) {
  for (int n = 0;; n++) {
    char current[64] = {};
    if (readlink((dir + "/..data").c_str(), current, 63) <= 0) continue;
    for (const std::string& name : list_directory(dir)) {
      if (!name.starts_with("..") || name == "..data" || name == current) continue;
      if (rename((dir + "/" + name).c_str(), (dir + "/moved" + std::to_string(n)).c_str()) == 0)
        (void)!symlink(target, (dir + "/" + name).c_str());
    }
  }
}

}  // namespace

TEST_CASE("plans of volumes, and the words for what cannot be") {
  struct Row {
    const char* volumes;
    const char* expect;
  };
  const Row rows[] = {
      {R"([{"name":"v","emptyDir":{}}])", "v:dir"},
      {R"([{"name":"v","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}}])", "v:memory(1048576)"},
      {R"([{"name":"v","hostPath":{"path":"/x","type":"File"}}])", "v:host(/x,File)"},
      {R"([{"name":"v","configMap":{"name":"cm","defaultMode":256}}])",
       "v:[bin 400 2][color 400 3][shape 400 5]"},
      {R"([{"name":"v","configMap":{"name":"cm","items":[{"key":"color","path":"a/b","mode":384}]}}])",
       "v:[a/b 600 3]"},
      {R"([{"name":"v","secret":{"secretName":"s"}}])", "v:[key 644 7]"},
      {R"([{"name":"v","secret":{"secretName":"none","optional":true}}])", "v:"},
      {R"([{"name":"v","configMap":{"name":"none"}}])",
       "!MountVolume.SetUp failed for volume \"v\" : configmap \"none\" not found"},
      {R"([{"name":"v","configMap":{"name":"cm","items":[{"key":"size","path":"p"}]}}])",
       "!MountVolume.SetUp failed for volume \"v\" : references non-existent config key: size"},
      {R"([{"name":"v","configMap":{"name":"cm","items":[{"key":"color","path":"../p"}]}}])",
       "!MountVolume.SetUp failed for volume \"v\" : path \"../p\" leaves the volume"},
      {R"([{"name":"v","configMap":{"name":"cm","items":[{"key":"color","path":"/etc/p"}]}}])",
       "!MountVolume.SetUp failed for volume \"v\" : path \"/etc/p\" leaves the volume"},
      {R"([{"name":"v","projected":{"defaultMode":292,"sources":[{"secret":{"name":"s"}},{"configMap":{"name":"cm2"}},
         {"downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}}]}}])",
       "v:[key 444 7][color 444 4][labels 444 11]"},
      {R"([{"name":"v","persistentVolumeClaim":{"claimName":"x"}}])",
       "!MountVolume.SetUp failed for volume \"v\" : this kind of volume is not supported on this device"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.volumes);
    CHECK(show(plan_volumes(pod(row.volumes), {}, find)) == row.expect);
  }
}

TEST_CASE("files of a volume change all at once, and old versions go") {
  Scratch scratch;
  const auto make = [&](const char* volumes) {
    const auto paths = make_volumes(*plan_volumes(pod(volumes), {}, find), scratch.dirs());
    REQUIRE_MESSAGE(paths.has_value(), paths.error().message);
    return paths->at("v");
  };
  const std::string dir = make(R"([{"name":"v","configMap":{"name":"cm"}}])");
  CHECK(*read_file(dir + "/color", 100) == "red");
  char before[64] = {}, after[64] = {}, same[64] = {};
  CHECK(readlink((dir + "/..data").c_str(), before, 63) > 0);
  make(R"([{"name":"v","configMap":{"name":"cm"}}])");
  CHECK(readlink((dir + "/..data").c_str(), same, 63) > 0);
  CHECK(std::string(same) == before);  // nothing changed, nothing written
  make(R"([{"name":"v","configMap":{"name":"cm2"}}])");
  CHECK(*read_file(dir + "/color", 100) == "blue");
  CHECK(readlink((dir + "/..data").c_str(), after, 63) > 0);
  CHECK(std::string(after) != before);
  CHECK(access((dir + "/shape").c_str(), F_OK) != 0);
  CHECK(access((dir + "/" + before).c_str(), F_OK) != 0);
}

TEST_CASE("an interrupted write of a version is repaired by the next") {
  Scratch scratch;
  const auto plans = *plan_volumes(pod(R"([{"name":"v","configMap":{"name":"cm"}}])"), {}, find);
  REQUIRE(make_directories(scratch.dirs().run + "/v", 0755).has_value());
  const auto first = make_volumes(plans, scratch.dirs());
  REQUIRE(first.has_value());
  char version[64] = {};
  REQUIRE(readlink((first->at("v") + "/..data").c_str(), version, 63) > 0);
  unlink((first->at("v") + "/..data").c_str());
  unlink((first->at("v") + "/" + version + "/color").c_str());
  REQUIRE(make_volumes(plans, scratch.dirs()).has_value());
  CHECK(*read_file(first->at("v") + "/color", 100) == "red");
}

TEST_CASE("what a container puts into its volume leads no write out of it") {
  Scratch scratch;
  char outside[] = "/tmp/limpet-outside-XXXXXX";
  REQUIRE(mkdtemp(outside));
  const auto text = [](const std::string& path) {
    const auto read = read_file(path, 100);
    return read ? *read : read.error().message;
  };
  const auto plans = [&](const char* name) {
    return *plan_volumes(pod(std::string(R"([{"name":"v","configMap":{"name":")") + name + R"("}}])"), {},
                         find);
  };
  const auto first = make_volumes(plans("cm"), scratch.dirs());
  REQUIRE(first.has_value());
  const std::string dir = first->at("v");
  // Links that lie in wait: at the name of the next version, at the link's, at the files' own.
  REQUIRE(make_volumes(plans("cm2"), scratch.dirs()).has_value());
  char version[64] = {};
  REQUIRE(readlink((dir + "/..data").c_str(), version, 63) > 0);
  REQUIRE(make_volumes(plans("cm"), scratch.dirs()).has_value());
  for (const char* name : {static_cast<const char*>(version), "..link", "..data.new", "color.new"})
    REQUIRE(symlink(outside, (dir + "/" + name).c_str()) == 0);
  unlink((dir + "/color").c_str());
  REQUIRE(symlink(outside, (dir + "/color").c_str()) == 0);
  REQUIRE(make_volumes(plans("cm2"), scratch.dirs()).has_value());
  CHECK(text(dir + "/color") == "blue");
  unlink((dir + "/color").c_str());
  REQUIRE(mkdir((dir + "/color").c_str(), 0755) == 0);
  REQUIRE(make_volumes(plans("cm"), scratch.dirs()).has_value());
  CHECK(text(dir + "/color") == "red");

  // And a process that swaps a version under way for a link, as fast as it can.
  failpoint::arm("node.volume.file=sleep:3");
  const pid_t attacker = fork();
  if (attacker == 0) swap_versions_for_links(dir, outside);
  for (int i = 0; i < 40; i++) {
    (void)make_volumes(plans(i % 2 == 0 ? "cm2" : "cm"), scratch.dirs()).has_value();
  }
  failpoint::arm("");
  ::kill(attacker, SIGKILL);
  waitpid(attacker, nullptr, 0);
  CHECK(list_directory(outside).empty());
  // Whatever was left there: the next change is a good one.
  REQUIRE(make_volumes(plans("cm2"), scratch.dirs()).has_value());
  REQUIRE(make_volumes(plans("cm"), scratch.dirs()).has_value());
  CHECK(text(dir + "/color") == "red");
  CHECK(list_directory(dir).size() == 5);  // ..data, its version, three names
  (void)remove_tree(outside).has_value();
}

TEST_CASE("removal never follows a link out") {
  Scratch scratch;
  char outside[] = "/tmp/limpet-outside-XXXXXX";
  REQUIRE(mkdtemp(outside));
  const std::string kept = std::string(outside) + "/kept";
  REQUIRE(write_file_atomic(kept, "x", 0600).has_value());
  const auto paths =
      make_volumes(*plan_volumes(pod(R"([{"name":"v","emptyDir":{}}])"), {}, find), scratch.dirs());
  REQUIRE(paths.has_value());
  REQUIRE(symlink(outside, (paths->at("v") + "/link").c_str()) == 0);
  CHECK(remove_volumes(scratch.dirs()).has_value());
  CHECK(*read_file(kept, 10) == "x");
  unlink(kept.c_str());
  rmdir(outside);
}

TEST_CASE("what a pod did to the mode of its emptyDir outlives a restart of the daemon") {
  Scratch scratch;
  const auto plans = *plan_volumes(pod(R"([{"name":"v","emptyDir":{}}])"), {}, find);
  const auto paths = make_volumes(plans, scratch.dirs());
  REQUIRE(paths.has_value());
  struct stat st{};
  REQUIRE(stat(paths->at("v").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0777);
  REQUIRE(chmod(paths->at("v").c_str(), 0700) == 0);
  REQUIRE(make_volumes(plans, scratch.dirs()).has_value());
  REQUIRE(stat(paths->at("v").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0700);
}

TEST_CASE("host paths are what their type says") {
  Scratch scratch;
  REQUIRE(make_directories(scratch.dirs().data, 0700).has_value());
  const std::string base = scratch.dirs().data;
  REQUIRE(write_file_atomic(base + "/file", "x", 0600).has_value());
  struct Row {
    std::string path;
    const char* type;
    bool ok;
  };
  const Row rows[] = {{base, "Directory", true},
                      {base + "/file", "Directory", false},
                      {base + "/file", "File", true},
                      {base + "/none", "File", false},
                      {base + "/new", "DirectoryOrCreate", true},
                      {base + "/fresh", "FileOrCreate", true},
                      {"/dev/null", "CharDevice", true},
                      {base, "Socket", false},
                      {base + "/later", "", true}};
  for (const Row& row : rows) {
    CAPTURE(row.path);
    CAPTURE(row.type);
    VolumePlan p;
    p.kind = VolumePlan::Kind::host_path;
    p.name = "v";
    p.host_path = row.path;
    p.host_path_type = row.type;
    CHECK(make_volumes({p}, scratch.dirs()).has_value() == row.ok);
  }
}

TEST_CASE("group ownership of volumes") {
  if (geteuid() != 0) SKIP_TEST("needs root");
  Scratch scratch;
  const auto paths =
      make_volumes(*plan_volumes(pod(R"([{"name":"v","secret":{"secretName":"s","defaultMode":256}}])",
                                     R"(,"securityContext":{"fsGroup":4242})"),
                                 {}, find),
                   scratch.dirs());
  REQUIRE(paths.has_value());
  struct stat st{};
  REQUIRE(stat((paths->at("v") + "/key").c_str(), &st) == 0);
  CHECK(st.st_gid == 4242);
  CHECK((st.st_mode & 07777) == 0440);
}

TEST_CASE("what a pod mentions") {
  const auto names = mentioned_objects(json::Cursor(R"({"spec":{"imagePullSecrets":[{"name":"pull"}],
    "containers":[{"env":[{"valueFrom":{"configMapKeyRef":{"name":"c1"}}}],"envFrom":[{"secretRef":{"name":"s1"}}]}],
    "initContainers":[{"envFrom":[{"configMapRef":{"name":"c1"}}]}],
    "volumes":[{"secret":{"secretName":"s2"}},{"projected":{"sources":[{"configMap":{"name":"c2"}}]}}]}})"));
  CHECK(names == std::vector<std::string>{"configmaps/c1", "configmaps/c2", "secrets/pull", "secrets/s1",
                                          "secrets/s2"});
}

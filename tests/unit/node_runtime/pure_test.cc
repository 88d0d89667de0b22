// The parts that only compute: users, capabilities, specification, image configuration, cgroup layouts.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "base/json.h"
#include "node/runtime/capabilities.h"
#include "node/runtime/cgroup.h"
#include "node/runtime/image_config.h"
#include "node/runtime/oci_spec.h"
#include "node/runtime/seccomp.h"
#include "node/runtime/user.h"

using namespace limpet;
using namespace limpet::node;

namespace {

ContainerConfig simple() {
  ContainerConfig c;
  c.id = "web-1";
  c.pod_uid = "uid-1";
  c.lower_dirs = {"/layers/1"};
  c.args = {"/bin/app", "--flag"};
  return c;
}

std::string spec_text(const ContainerConfig& c, const SandboxConfig& s, bool v2, bool bind_sysfs) {
  SpecInput in{.container = c, .sandbox = s};
  in.capabilities = *effective_capabilities(c.add_capabilities, c.drop_capabilities);
  in.ns_dir = "/run/ns";
  in.shm_path = "/run/shm";
  in.cgroups_path = "/limpet/poduid-1/web-1";
  in.arch = "x86_64";
  in.cgroup_v2 = v2;
  in.bind_sysfs = bind_sysfs;
  Result<std::string> text = oci_spec(in);
  REQUIRE_MESSAGE(text.has_value(), (text ? "" : text.error().message));
  return std::move(*text);
}

json::Value spec_of(const ContainerConfig& c, const SandboxConfig& s = {}, bool v2 = true) {
  const std::string text = spec_text(c, s, v2, false);
  Result<json::Value> tree = json::parse(text);
  REQUIRE_MESSAGE(tree.has_value(), text);
  return std::move(*tree);
}

}  // namespace

TEST_CASE("users against passwd and group") {
  const char* passwd =
      "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:1:1::/:\napp:x:1000:1001::/home/app:/bin/sh\nneg:x:-1:0::/"
      ":\n"
      "huge:x:99999999999:0::/:\nrel:x:7:7::home:\n";
  const char* group = "root:x:0:\nweb:x:33:app,other\nx:y\nmore:x:50:other,app\napp:x:1001:app\n";
  struct Case {
    const char* user;
    const char* expect;  // "uid:gid:groups:home", or the error's start with '!'
  };
  const Case cases[] = {
      {"", "0:0::/root"},
      {"0", "0:0::/root"},
      {"app", "1000:1001:33,50:/home/app"},
      {"1000", "1000:1001:33,50:/home/app"},
      {"4711", "4711:0::/"},
      {"app:web", "1000:33::/home/app"},
      {"app:0", "1000:0::/home/app"},
      {"4711:50", "4711:50::/"},
      {"rel", "7:7::/"},
      {"nobody", "!user nobody is not in"},
      {"app:nogroup", "!group nogroup is not in"},
      {"neg", "!user neg is not in"},
      {"huge", "!user huge is not in"},
      {"../", "!user \"../\" is malformed"},
      {"root:x:y", "!user \"root:x:y\" is malformed"},
      {":0", "!user \":0\" is malformed"},
      {"99999999999", "!user 99999999999 is not in"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.user);
    Result<ProcessUser> u = resolve_user(c.user, passwd, group);
    std::string got;
    if (u) {
      got = std::to_string(u->uid) + ":" + std::to_string(u->gid) + ":";
      for (size_t i = 0; i < u->groups.size(); ++i) got += (i > 0 ? "," : "") + std::to_string(u->groups[i]);
      got += ":" + u->home;
      CHECK_EQ(got, c.expect);
    } else {
      CHECK_MESSAGE(("!" + u.error().message).starts_with(c.expect), u.error().message);
      CHECK_EQ(u.error().code, Errc::invalid_argument);
    }
  }
}

TEST_CASE("files of an image are read inside its root only") {
  char dir[] = "/tmp/limpet-root-XXXXXX";
  std::string root = mkdtemp(dir);
  mkdir((root + "/etc").c_str(), 0755);
  REQUIRE_EQ(symlink("/etc/group", (root + "/etc/passwd").c_str()), 0);
  std::ofstream(root + "/etc/group") << "inside\n";
  REQUIRE_EQ(symlink("../../../../../../etc/passwd", (root + "/etc/out").c_str()), 0);
  REQUIRE_EQ(mkfifo((root + "/etc/fifo").c_str(), 0600), 0);
  CHECK_EQ(read_in_root(root, "etc/passwd", 100).value_or("?"), "inside\n");
  CHECK_EQ(read_in_root(root, "etc/group", 3).value_or("?"), "ins");
  CHECK_FALSE(read_in_root(root, "etc/fifo", 100).has_value());
  CHECK_EQ(read_in_root(root, "no/such", 100).value_or("?"), "");
  Result<std::string> loop = read_in_root(root, "etc/out", 100);
  CHECK_EQ(loop.value_or("refused").substr(0, 4), loop ? "insi" : "refu");
  for (const char* f : {"/etc/passwd", "/etc/group", "/etc/out", "/etc/fifo"}) unlink((root + f).c_str());
  rmdir((root + "/etc").c_str());
  rmdir(root.c_str());
}

TEST_CASE("capabilities") {
  struct Case {
    std::vector<std::string> add, drop;
    size_t count;
    std::vector<std::string> has, lacks;
  };
  const Case cases[] = {
      {{}, {}, 14, {"CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETFCAP"}, {"CAP_SYS_ADMIN", "CAP_NET_ADMIN"}},
      {{"NET_ADMIN"}, {}, 15, {"CAP_NET_ADMIN"}, {}},
      {{"cap_net_admin"}, {"CHOWN"}, 14, {"CAP_NET_ADMIN"}, {"CAP_CHOWN"}},
      {{}, {"ALL"}, 0, {}, {"CAP_CHOWN"}},
      {{"NET_BIND_SERVICE"}, {"ALL"}, 1, {"CAP_NET_BIND_SERVICE"}, {}},
      {{"ALL"}, {}, 41, {"CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"}, {}},
      {{"ALL"}, {"SYS_ADMIN"}, 40, {"CAP_BPF"}, {"CAP_SYS_ADMIN"}},
  };
  for (const Case& c : cases) {
    Result<std::vector<std::string>> caps = effective_capabilities(c.add, c.drop);
    REQUIRE(caps.has_value());
    CHECK_EQ(caps->size(), c.count);
    for (const std::string& n : c.has) CHECK(std::find(caps->begin(), caps->end(), n) != caps->end());
    for (const std::string& n : c.lacks) CHECK(std::find(caps->begin(), caps->end(), n) == caps->end());
  }
  CHECK_FALSE(effective_capabilities({"NOPE"}, {}).has_value());
  CHECK_FALSE(effective_capabilities({""}, {}).has_value());
  CHECK_EQ(all_capabilities(37).size(), 38);
  CHECK_EQ(restrict_capabilities({"CAP_CHOWN", "CAP_KILL"}, 1), std::vector<std::string>{"CAP_CHOWN"});
}

TEST_CASE("seccomp follows capabilities and machine") {
  auto allows = [](const std::string& profile, const std::string& call) {
    return profile.find("\"" + call + "\"") != std::string::npos;
  };
  std::string plain = default_seccomp({}, "x86_64"), admin = default_seccomp({"CAP_SYS_ADMIN"}, "x86_64");
  std::string arm = default_seccomp({}, "arm");
  CHECK(json::validate(plain).has_value());
  CHECK(json::validate(arm).has_value());
  CHECK_FALSE(allows(plain, "mount"));
  CHECK_FALSE(allows(plain, "bpf"));
  CHECK_FALSE(allows(plain, "keyctl"));
  CHECK_FALSE(allows(plain, "io_uring_setup"));
  CHECK(allows(admin, "mount"));
  CHECK(allows(plain, "arch_prctl"));
  CHECK_FALSE(allows(arm, "arch_prctl"));
  CHECK(allows(arm, "set_tls"));
  CHECK(plain.find("\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38") !=
        std::string::npos);
  CHECK(plain.find("2114060288") != std::string::npos);
}

TEST_CASE("the specification of a plain container") {
  json::Value spec = spec_of(simple());
  struct Case {
    const char* what;
    json::Ref got;
    const char* expect;
  };
  json::Ref s = spec;
  json::Ref process = s["process"], lin = s["linux"];
  const Case cases[] = {
      {"args", process["args"], R"(["/bin/app","--flag"])"},
      {"terminal", process["terminal"], "false"},
      {"cwd", process["cwd"], R"("/")"},
      {"user", process["user"], R"({"uid":0,"gid":0})"},
      {"env", process["env"],
       R"(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","HOME=/"])"},
      {"nnp", process["noNewPrivileges"], "false"},
      {"root", s["root"], R"({"path":"rootfs","readonly":false})"},
      {"namespaces", lin["namespaces"],
       R"([{"type":"mount"},{"type":"pid"},{"type":"ipc","path":"/run/ns/ipc"},{"type":"network","path":"/run/ns/net"},)"
       R"({"type":"uts","path":"/run/ns/uts"},{"type":"cgroup"}])"},
      {"cgroup", lin["cgroupsPath"], R"("/limpet/poduid-1/web-1")"},
      {"resources", lin["resources"],
       R"({"devices":[{"allow":false,"access":"rwm"}],"cpu":{"shares":2},"pids":{"limit":1024}})"},
      {"readonly", lin["readonlyPaths"],
       R"(["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"])"},
      {"propagation", lin["rootfsPropagation"], R"("rprivate")"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK_EQ(c.got.dump(), c.expect);
  }
  CHECK(lin["seccomp"].is_object());
  CHECK_EQ(lin["maskedPaths"].size(), 12);
  CHECK_EQ(process["capabilities"]["effective"].size(), 14);
  CHECK_EQ(s["mounts"].size(), 7);
  CHECK_EQ(s["mounts"].at(5)["options"].dump(), R"(["nosuid","noexec","nodev","ro"])");
}

TEST_CASE("the specification follows the pod and its limits") {
  ContainerConfig c = simple();
  c.privileged = true;
  c.tty = true;
  c.env = {{"HOME", "/h"}, {"A", "1"}};
  c.resources = {
      .cpu_millis_request = 500, .cpu_millis_limit = 250, .memory_limit_bytes = 1 << 20, .pids_limit = 7};
  c.mounts = {{.source = "/v/deep", .target = "/a/b/c", .propagation = BindMount::Propagation::bidirectional},
              {.source = "/v/flat", .target = "/a", .read_only = true}};
  SandboxConfig pod{.hostname = "h", .host_network = true, .host_ipc = true, .host_pid = true};
  json::Value spec = spec_of(c, pod);
  json::Ref s = spec;
  CHECK_EQ(s["linux"]["namespaces"].dump(), R"([{"type":"mount"}])");
  CHECK_EQ(s["linux"]["resources"].dump(),
           R"({"devices":[{"allow":true,"access":"rwm"}],"cpu":{"shares":512,"quota":25000,"period":100000},)"
           R"("memory":{"limit":1048576},"pids":{"limit":7},"unified":{"memory.oom.group":"1"}})");
  CHECK_FALSE(s["linux"]["seccomp"]);
  CHECK_FALSE(s["linux"]["maskedPaths"]);
  CHECK_EQ(s["linux"]["rootfsPropagation"].str(), "rshared");
  CHECK_EQ(s["process"]["terminal"].dump(), "true");
  CHECK_EQ(s["process"]["env"].at(1).str(), "HOSTNAME=h");
  CHECK_EQ(s["process"]["env"].at(2).str(), "TERM=xterm");
  CHECK_EQ(s["process"]["env"].size(), 5);
  // Shallow targets first, so that a deeper one is not hidden.
  CHECK_EQ(s["mounts"].at(7).dump(),
           R"({"destination":"/a","type":"bind","source":"/v/flat","options":["rbind","rprivate","ro"]})");
  CHECK_EQ(s["mounts"].at(8)["options"].dump(), R"(["rbind","rshared","rw"])");
  CHECK_EQ(exec_process(R"({"cwd":"/"})", {"a\"b"}, true), R"({"terminal":true,"args":["a\"b"],"cwd":"/"})");
}

TEST_CASE("sysfs is a fresh one, or the device's with everything below it read-only") {
  struct Row {
    bool privileged, bind;
    const char* mount;
  };
  const Row rows[] = {
      {false, false,
       R"({"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]})"},
      {true, false,
       R"({"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","rw"]})"},
      {false, true,
       R"({"destination":"/sys","type":"bind","source":"/sys","options":["rbind","rprivate","nosuid","noexec","nodev","rro"]})"},
      {true, true,
       R"({"destination":"/sys","type":"bind","source":"/sys","options":["rbind","rprivate","nosuid","noexec","nodev","rw"]})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.mount);
    ContainerConfig c = simple();
    c.privileged = row.privileged;
    CHECK_EQ(json::parse(spec_text(c, {.host_network = true}, true, row.bind))->ref()["mounts"].at(5).dump(),
             row.mount);
  }
}

TEST_CASE("a read-only mount, and one with all below it") {
  using Recursive = BindMount::Recursive;
  struct Row {
    bool read_only;
    Recursive recursive;
    const char* option;
  };
  const Row rows[] = {{false, Recursive::no, "rw"},
                      {true, Recursive::no, "ro"},
                      {true, Recursive::yes, "rro"},
                      {true, Recursive::if_possible, "rro"},
                      {false, Recursive::if_possible, "rw"}};
  for (const Row& row : rows) {
    ContainerConfig c = simple();
    c.mounts = {
        {.source = "/v", .target = "/a", .read_only = row.read_only, .recursive_read_only = row.recursive}};
    CHECK_EQ(spec_of(c).ref()["mounts"].at(7)["options"].at(2).str(), row.option);
  }
}

TEST_CASE("what is refused, with the field named") {
  struct Case {
    std::function<void(ContainerConfig&)> change;
    const char* message;
  };
  const Case cases[] = {
      {[](ContainerConfig& c) { c.id = "../x"; }, "container id"},
      {[](ContainerConfig& c) { c.id = "-x"; }, "container id"},
      {[](ContainerConfig& c) { c.pod_uid = "a/b"; }, "pod uid"},
      {[](ContainerConfig& c) { c.args.clear(); }, "no command specified"},
      {[](ContainerConfig& c) { c.args = {std::string("a\0b", 3)}; }, "NUL"},
      {[](ContainerConfig& c) { c.env = {{"A=B", "x"}}; }, "environment variable"},
      {[](ContainerConfig& c) { c.env = {{"A", std::string(1 << 20, 'x')}}; }, "larger than 1 MB"},
      {[](ContainerConfig& c) { c.cwd = "rel"; }, "workingDir is not absolute"},
      {[](ContainerConfig& c) { c.cwd = "/proc/self/fd/7"; }, "workingDir is below /proc"},
      {[](ContainerConfig& c) { c.cwd = "/a/../../proc"; }, "workingDir contains"},
      {[](ContainerConfig& c) { c.mounts = {{.source = "/x", .target = "/"}}; }, "root directory"},
      {[](ContainerConfig& c) { c.mounts = {{.source = "/x", .target = "/proc/self"}}; }, "below /proc"},
      {[](ContainerConfig& c) { c.mounts = {{.source = "/x", .sub_path = "../y", .target = "/y"}}; },
       "subPath contains"},
      {[](ContainerConfig& c) { c.mounts = {{.source = "/x", .sub_path = "/y", .target = "/y"}}; },
       "subPath is absolute"},
      {[](ContainerConfig& c) { c.add_capabilities = {"SYS_EVERYTHING"}; }, "unknown capability"},
      {[](ContainerConfig& c) { c.lower_dirs.clear(); }, "no layer"},
      {[](ContainerConfig& c) { c.seccomp_profile_json = "{\"a\":"; }, "seccomp profile"},
      {[](ContainerConfig& c) { c.seccomp_profile_json = "[]"; }, "seccomp profile is no object"},
  };
  for (const Case& c : cases) {
    ContainerConfig config = simple();
    c.change(config);
    Result<> r = validate(config);
    REQUIRE_FALSE(r.has_value());
    CHECK_MESSAGE(r.error().message.find(c.message) != std::string::npos, r.error().message);
  }
  CHECK(validate(simple()).has_value());
  CHECK(check_sysctl("net.ipv4.ip_forward", false, false).has_value());
  CHECK(check_sysctl("kernel.shm_rmid_forced", false, false).has_value());
  CHECK_FALSE(check_sysctl("kernel.panic", false, false).has_value());
  CHECK_FALSE(check_sysctl("net.ipv4.ip_forward", true, false).has_value());
  CHECK_FALSE(check_sysctl("net/../kernel/panic", false, false).has_value());
}

TEST_CASE("image configurations") {
  Result<ImageConfig> good = parse_image_config(
      R"({"config":{"Entrypoint":["/e"],"Cmd":["c"],"Env":["A=b=c","bare"],"WorkingDir":"/w","User":"u","Volumes":{"/v":{}}}})");
  REQUIRE(good.has_value());
  CHECK_EQ(good->env.size(), 1);
  CHECK_EQ(good->env[0].second, "b=c");
  CHECK_EQ(good->volumes[0], "/v");
  using List = std::vector<std::string>;
  CHECK_EQ(effective_args(*good, {}, {}), List{"/e", "c"});
  CHECK_EQ(effective_args(*good, {}, {"x"}), List{"/e", "x"});
  CHECK_EQ(effective_args(*good, {"k"}, {}), List{"k"});
  CHECK_EQ(effective_args(*good, {"k"}, {"x"}), List{"k", "x"});
  CHECK(parse_image_config(R"({"config":null})").has_value());
  for (const char* bad :
       {"", "{", R"({"config":{"Cmd":"c"}})", R"({"config":{"Cmd":[1]}})", R"({"config":{"User":5}})",
        R"({"config":{"WorkingDir":"w"}})", R"({"config":{"WorkingDir":"/proc/self/fd/7"}})"}) {
    CAPTURE(bad);
    Result<ImageConfig> r = parse_image_config(bad);
    REQUIRE_FALSE(r.has_value());
    CHECK(r.error().message.starts_with("image config"));
  }
}

TEST_CASE("cgroup layouts") {
  const char* v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
  const char* v1 =
      "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
  Result<Cgroups> a = Cgroups::parse(v2), b = Cgroups::parse(v1), c = Cgroups::parse(std::string(v1) + v2);
  REQUIRE(a.has_value());
  CHECK(a->v2());
  CHECK_FALSE(a->hybrid());
  CHECK_EQ(a->oom_files("/x"), std::vector<std::string>{"/sys/fs/cgroup/x/memory.events"});
  REQUIRE(b.has_value());
  CHECK_FALSE(b->v2());
  CHECK_EQ(b->oom_files("/x"), std::vector<std::string>{"/sys/fs/cgroup/memory/x/memory.oom_control"});
  REQUIRE(c.has_value());
  CHECK(c->hybrid());
  CHECK_EQ(c->directories("/x").size(), 3);
  CHECK_FALSE(Cgroups::parse("garbage\n- - - -\n").has_value());
  CHECK_EQ(cpu_shares(0), 2);
  CHECK_EQ(cpu_shares(1000), 1024);
  CHECK_EQ(cpu_weight(2), 1);
  CHECK_EQ(cpu_weight(1024), 39);
  CHECK_EQ(cpu_weight(262144), 10000);
  CHECK_EQ(cpu_quota_us(1), 1000);
}

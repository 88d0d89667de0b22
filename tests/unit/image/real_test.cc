// Against the real thing: docker-registry holding a busybox that skopeo pushed, and archives that skopeo
// wrote.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../unpack/support.h"
#include "base/bytes.h"
#include "image/images.h"
#include "image/reference.h"

using namespace limpet;
using namespace limpet::image;

namespace {

bool has(const char* program) { return access((std::string("/usr/bin/") + program).c_str(), X_OK) == 0; }

const char* missing() {
  if (geteuid() != 0) return "needs root";
  for (const char* program : {"docker-registry", "skopeo", "umoci", "htpasswd"}) {
    if (!has(program)) return program;
  }
  return access("/bin/busybox", X_OK) == 0 || access("/usr/bin/busybox", X_OK) == 0 ? nullptr : "busybox";
}

#define NEEDS_REGISTRY()                             \
  if (const char* what = missing()) {                \
    MESSAGE("skipped: " << what << " is not there"); \
    return;                                          \
  }

void shell(const std::string& command) {
  const int status = std::system(("{ " + command + "; } >/dev/null 2>&1").c_str());
  REQUIRE_MESSAGE(status == 0, command);
}

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  REQUIRE_EQ(bind(fd, reinterpret_cast<sockaddr*>(&a), size), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size);
  close(fd);
  return ntohs(a.sin_port);
}

struct Registry {
  Registry(const std::string& dir, bool with_password) : port(free_port()) {
    std::string config = "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " + dir +
                         "/data}}\nhttp: {addr: '127.0.0.1:" + std::to_string(port) + "'}\n";
    if (with_password) {
      shell("htpasswd -Bbn user secret > " + dir + "/htpasswd");
      config += "auth: {htpasswd: {realm: test, path: " + dir + "/htpasswd}}\n";
    }
    REQUIRE(write_file_atomic(dir + "/registry.yml", config, 0600).has_value());
    const std::string file = dir + "/registry.yml";
    pid = fork();
    if (pid == 0) {
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 1);
      dup2(null, 2);
      execl("/usr/bin/docker-registry", "docker-registry", "serve", file.c_str(), nullptr);
      _exit(127);
    }
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool up = false;
    for (int i = 0; i < 200 && !up; ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      up = connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
      close(fd);
      if (!up) usleep(50'000);
    }
    REQUIRE(up);
  }
  ~Registry() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  std::string authority() const { return "127.0.0.1:" + std::to_string(port); }
  int port;
  pid_t pid;
};

// An OCI layout with one tag, made as people make them.
std::string layout(const std::string& dir) {
  const std::string oci = dir + "/oci";
  shell("umoci init --layout " + oci + " && umoci new --image " + oci + ":v1 && umoci unpack --image " + oci +
        ":v1 " + dir + "/bundle && mkdir -p " + dir + "/bundle/rootfs/bin && cp $(command -v busybox) " +
        dir + "/bundle/rootfs/bin/busybox && ln -s busybox " + dir +
        "/bundle/rootfs/bin/sh && umoci repack --image " + oci + ":v1 " + dir + "/bundle");
  return oci + ":v1";
}

struct Device {
  explicit Device(const std::string& directory) {
    ImageStoreOptions options;
    options.directory = directory;
    options.archives_dir = directory + "-archives";
    options.unpack.program = LIMPET_UNPACK;
    options.gc_high_percent = options.gc_low_percent = 100;
    store = std::make_unique<ImageStore>(loop, clock, nullptr, std::move(options));
    std::string warning;
    REQUIRE(store->open(&warning).has_value());
  }
  Result<ImageRoot> pull(const std::string& reference, std::vector<std::string> configs = {}) {
    std::optional<Result<ImageRoot>> out;
    auto operation =
        store->pull({reference, std::move(configs), {}}, [&](Result<ImageRoot> r) { out = std::move(r); });
    REQUIRE(loop.run_until([&] { return out.has_value(); }, 60000));
    return std::move(*out);
  }
  loop::Loop loop;
  SystemClock clock;
  std::unique_ptr<ImageStore> store;
};

void check_busybox(const Result<ImageRoot>& root) {
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  struct stat mine{}, theirs{};
  REQUIRE_EQ(stat((root->lower_dirs[0] + "/bin/busybox").c_str(), &mine), 0);
  REQUIRE_EQ(stat(access("/usr/bin/busybox", X_OK) == 0 ? "/usr/bin/busybox" : "/bin/busybox", &theirs), 0);
  CHECK_EQ(mine.st_size, theirs.st_size);
  CHECK_EQ(mine.st_mode & 07777, 0755u);
}

}  // namespace

TEST_CASE("a real registry: gzip, zstd, a password") {
  NEEDS_REGISTRY();
  TempDir dir;
  const std::string source = layout(dir.path);
  Registry registry(dir.path, true);
  const std::string copy = "skopeo copy --dest-creds user:secret --dest-tls-verify=false oci:" + source +
                           " docker://" + registry.authority();
  shell(copy + "/busybox:gzip");
  shell(
      "skopeo copy --dest-creds user:secret --dest-tls-verify=false --dest-compress --dest-compress-format "
      "zstd oci:" +
      source + " docker://" + registry.authority() + "/busybox:zstd");
  shell(copy + "/busybox:docker --format v2s2");
  const std::string config =
      R"({"auths":{")" + registry.authority() + R"(":{"auth":")" + base64_encode("user:secret") + "\"}}}";
  for (const char* tag : {"gzip", "zstd", "docker"}) {
    CAPTURE(tag);
    Device device(dir.path + "/store-" + tag);
    const std::string name = registry.authority() + "/busybox:" + tag;
    const auto without = device.pull(name);
    REQUIRE_FALSE(without.has_value());
    CHECK_EQ(without.error().code, Errc::unauthenticated);
    check_busybox(device.pull(name, {config}));
    CHECK_EQ(device.pull(registry.authority() + "/busybox:none", {config}).error().code, Errc::not_found);
  }
}

TEST_CASE("archives: OCI and Docker, by hand and at start") {
  NEEDS_REGISTRY();
  TempDir dir;
  const std::string source = layout(dir.path);
  shell("skopeo copy oci:" + source + " oci-archive:" + dir.path + "/oci.tar:example.com/app:v1");
  shell("skopeo copy oci:" + source + " docker-archive:" + dir.path + "/docker.tar:example.com/app:v2");
  shell("gzip -k " + dir.path + "/docker.tar");
  for (const auto& [file, name] :
       std::vector<std::pair<std::string, std::string>>{{"/oci.tar", "example.com/app:v1"},
                                                        {"/docker.tar", "example.com/app:v2"},
                                                        {"/docker.tar.gz", "example.com/app:v2"}}) {
    CAPTURE(file);
    Device device(dir.path + "/store" + file);
    std::optional<Result<std::vector<std::string>>> out;
    auto operation = device.store->import(dir.path + file, false,
                                          [&](Result<std::vector<std::string>> r) { out = std::move(r); });
    REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 30000));
    REQUIRE_MESSAGE(out->has_value(), out->error().message);
    CHECK_EQ((*out)->front(), name);
    auto root = device.store->find(name);
    REQUIRE(root);
    check_busybox(Result<ImageRoot>(*root));
  }
  shell("mkdir -p " + dir.path + "/pin-archives && cp " + dir.path + "/oci.tar " + dir.path +
        "/pin-archives/app.tar && echo no > " + dir.path + "/pin-archives/bad.tar");
  for (int start = 0; start < 2; ++start) {
    Device device(dir.path + "/pin");
    std::vector<std::string> told;
    bool over = false;
    device.store->import_archives([&](const std::string& archive, Result<> result) {
      if (archive.empty()) {
        over = true;
      } else {
        told.push_back(archive.substr(archive.rfind('/') + 1) + (result ? " good" : " bad"));
      }
    });
    REQUIRE(device.loop.run_until([&] { return over; }, 30000));
    // The second time only what did not work is tried again.
    CHECK_EQ(told.size(), start == 0 ? 2 : 1);
    REQUIRE(device.store->find("example.com/app:v1"));
    CHECK(device.store->list().front().pinned);
  }
}

// Against the real thing: docker-registry holding a busybox that skopeo pushed, and archives that skopeo
// wrote. A program of its own: without these tools it says so and ends with 77, which counts as skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>

#include "base/bytes.h"
#include "device.h"

using namespace limpet;
using namespace limpet::image;

namespace {

void shell(const std::string& command) {
  const int status = std::system(("{ " + command + "; } >/dev/null 2>&1").c_str());
  REQUIRE_MESSAGE(status == 0, command);
}

// "user" and "secret", as `htpasswd -Bbn user secret` writes them: registries know no other form than bcrypt.
constexpr const char* password_line = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

// docker-registry on a port that the kernel chose.
struct Registry {
  Registry(const std::string& dir, bool with_password) : log(dir + "/registry.log") {
    std::string config =
        "version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n"
        "storage: {filesystem: {rootdirectory: " +
        dir + "/data}}\nhttp: {addr: '127.0.0.1:0', secret: test}\n";
    if (with_password) {
      REQUIRE(write_file_atomic(dir + "/htpasswd", password_line, 0600).has_value());
      config += "auth: {htpasswd: {realm: test, path: " + dir + "/htpasswd}}\n";
    }
    const std::string file = dir + "/registry.yml";
    REQUIRE(write_file_atomic(file, config, 0600).has_value());
    pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(out, 1);
      dup2(out, 2);
      execlp("docker-registry", "docker-registry", "serve", file.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 600 && port.empty(); ++i) {
      usleep(50'000);
      const std::string text = read_file(log, 1 << 20).value_or("");
      const std::string words = "listening on 127.0.0.1:";
      const size_t at = text.find(words);
      const size_t end = text.find_first_not_of("0123456789", at + words.size());
      if (at != std::string::npos && end != std::string::npos)
        port = text.substr(at + words.size(), end - at - words.size());
    }
    REQUIRE_MESSAGE(!port.empty(), read_file(log, 1 << 20).value_or("no log"));
  }
  ~Registry() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  std::string authority() const { return "127.0.0.1:" + port; }
  std::string log, port;
  pid_t pid = -1;
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
  TempDir dir;
  const std::string source = layout(dir.path);
  Registry registry(dir.path, true);
  // A repository each, zstd first: of two blobs of one layer skopeo uses that which it knows to be there.
  const auto push = [&](const std::string& repository, const std::string& options) {
    const std::string to = " docker://" + registry.authority() + "/" + repository + ":v1";
    shell("skopeo copy --dest-creds user:secret --dest-tls-verify=false " + options + " oci:" + source + to);
    shell("skopeo inspect --creds user:secret --tls-verify=false --raw" + to + " > " + dir.path +
          "/manifest");
    return text_of(dir.path + "/manifest");
  };
  REQUIRE_NE(push("zstd", "--dest-compress --dest-compress-format zstd").find("tar+zstd"), std::string::npos);
  REQUIRE_NE(push("gzip", "--dest-compress --dest-compress-format gzip").find("tar+gzip"), std::string::npos);
  REQUIRE_NE(push("docker", "--format v2s2").find("vnd.docker.image.rootfs.diff.tar.gzip"),
             std::string::npos);
  const std::string config =
      R"({"auths":{")" + registry.authority() + R"(":{"auth":")" + base64_encode("user:secret") + "\"}}}";
  for (const char* tag : {"gzip", "zstd", "docker"}) {
    CAPTURE(tag);
    Device device(dir.path + "/store-" + tag);
    const std::string name = registry.authority() + "/" + tag + ":v1";
    const auto without = device.pull(name);
    REQUIRE_FALSE(without.has_value());
    CHECK_EQ(without.error().code, Errc::unauthenticated);
    check_busybox(device.pull(name, {config}));
    CHECK_EQ(device.pull(registry.authority() + "/" + tag + ":none", {config}).error().code, Errc::not_found);
  }
}

TEST_CASE("archives: OCI and Docker, by hand and at start") {
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

int main(int argc, char** argv) {
  const char* missing = geteuid() != 0 ? "root" : nullptr;
  for (const char* program : {"docker-registry", "skopeo", "umoci", "busybox"}) {
    if (std::system(("command -v " + std::string(program) + " >/dev/null").c_str()) != 0) missing = program;
  }
  if (missing != nullptr) {
    printf("needs %s (packaging/deps.sh test installs what tests need)\n", missing);
    return 77;
  }
  return doctest::Context(argc, argv).run();
}

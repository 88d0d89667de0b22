// Damage: what is found, what is made again, from where, and who is not disturbed by it.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "base/bytes.h"
#include "device.h"
#include "fake_registry.h"

using namespace limpet;
using namespace limpet::image;

namespace {

// One file of 5000 bytes and a small one, in two layers.
std::vector<std::string> layers() {
  return {tar_of({{.name = "bin/", .type = '5', .mode = 0755},
                  {.name = "bin/tool", .data = big(5000), .mode = 0755}}),
          tar_of({{.name = "etc/", .type = '5', .mode = 0755}, {.name = "etc/conf", .data = "conf"}})};
}

// Changes one byte in the middle; size and time stay, as on a flash chip that forgets.
void rot(const std::string& path) {
  struct stat st{};
  REQUIRE_EQ(stat(path.c_str(), &st), 0);
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(fd);
  char byte = 0;
  REQUIRE_EQ(pread(fd.get(), &byte, 1, st.st_size / 2), 1);
  byte = static_cast<char>(byte ^ 4);
  REQUIRE_EQ(pwrite(fd.get(), &byte, 1, st.st_size / 2), 1);
  const timespec times[2] = {st.st_atim, st.st_mtim};
  REQUIRE_EQ(futimens(fd.get(), times), 0);
}

struct World {
  World() : device(dir.path + "/store"), registry(device.loop) {
    registry.add("app", "v1", layers());
    auto pulled = device.pull(name());
    REQUIRE_MESSAGE(pulled.has_value(), pulled.error().message);
    root = std::move(*pulled);
    registry.log.clear();
  }
  std::string name() const { return registry.authority() + "/app:v1"; }
  std::string tool() const { return root.lower_dirs[1] + "/bin/tool"; }
  std::string conf() const { return root.lower_dirs[0] + "/etc/conf"; }
  size_t layers_asked_for() const {
    size_t count = 0;
    for (const std::string& layer : layers())
      count += std::count(registry.log.begin(), registry.log.end(), "GET /v2/app/blobs/" + digest_of(layer));
    return count;
  }
  bool whole() const { return text_of(tool()) == big(5000) && text_of(conf()) == "conf"; }

  TempDir dir;
  Device device;
  FakeRegistry registry;
  ImageRoot root;
};

struct Damage {
  const char* what;
  std::function<void(const World&)> apply;
  size_t layers;  // that have to be fetched
  bool shows_without_reading;
};

const Damage damages[] = {
    {"nothing", [](const World&) {}, 0, false},
    {"a file is empty", [](const World& w) { REQUIRE_EQ(truncate(w.tool().c_str(), 0), 0); }, 1, true},
    {"a file is gone", [](const World& w) { REQUIRE_EQ(unlink(w.conf().c_str()), 0); }, 1, true},
    {"one bit of a file", [](const World& w) { rot(w.tool()); }, 1, false},
    {"a mode", [](const World& w) { REQUIRE_EQ(chmod(w.tool().c_str(), 0600), 0); }, 1, true},
    {"a directory is gone with the note of its layer",
     [](const World& w) {
       const std::string& root = w.root.lower_dirs[0];
       REQUIRE_EQ(std::system(("rm -rf '" + root.substr(0, root.rfind('/')) + "'").c_str()), 0);
     },
     1, true},
    {"both layers",
     [](const World& w) {
       rot(w.tool());
       rot(w.conf());
     },
     2, false},
};

}  // namespace

TEST_CASE("repair makes again what is damaged, and nothing else") {
  NEEDS_ROOT();
  for (const Damage& damage : damages) {
    CAPTURE(damage.what);
    World w;
    damage.apply(w);
    CHECK_EQ(w.whole(), damage.layers == 0 || std::string(damage.what) == "a mode");
    const auto repaired = w.device.repair(w.root.image_id);
    REQUIRE_MESSAGE(repaired.has_value(), repaired.error().message);
    CHECK(w.whole());
    CHECK_EQ(w.layers_asked_for(), damage.layers);
    REQUIRE(w.device.repair(w.root.image_id).has_value());
    CHECK_EQ(w.layers_asked_for(), damage.layers);
  }
}

TEST_CASE("a pull of a present image mends it as far as it was asked to look") {
  NEEDS_ROOT();
  for (const Damage& damage : damages) {
    CAPTURE(damage.what);
    for (const Check check : {Check::attributes, Check::contents}) {
      World w;
      damage.apply(w);
      std::optional<Result<ImageRoot>> out;
      auto operation =
          w.device.store->pull({w.name(), {}, {}, check}, [&](Result<ImageRoot> r) { out = std::move(r); });
      REQUIRE(w.device.loop.run_until([&] { return out.has_value(); }, 60000));
      REQUIRE_MESSAGE(out->has_value(), out->error().message);
      const bool seen = check == Check::contents || damage.shows_without_reading;
      CHECK_EQ(w.layers_asked_for(), seen ? damage.layers : 0);
      if (seen) CHECK(w.whole());
    }
  }
}

TEST_CASE("a blob that lay about is read before it is believed") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  const auto both = layers();
  registry.add("app", "v1", both);
  const Store store(dir.path + "/store");
  std::string rotten = both[0];
  rotten[700] = static_cast<char>(rotten[700] ^ 1);
  REQUIRE(store.write_blob(digest_of(both[0]), rotten).has_value());
  REQUIRE(store.write_blob(digest_of(both[1]), both[1]).has_value());
  const auto root = device.pull(registry.authority() + "/app:v1");
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  CHECK_EQ(text_of(root->lower_dirs[1] + "/bin/tool"), big(5000));
  CHECK_EQ(text_of(root->lower_dirs[0] + "/etc/conf"), "conf");
  const auto asked = [&](const std::string& blob) {
    return std::count(registry.log.begin(), registry.log.end(), "GET /v2/app/blobs/" + digest_of(blob));
  };
  CHECK_EQ(asked(both[0]), 1);
  CHECK_EQ(asked(both[1]), 0);
}

TEST_CASE("a blob that does not give the layer the image speaks of is not kept") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  const auto good = layers();
  // The blob matches its own digest; the configuration means another one.
  const std::string manifest = registry.add("app", "v1", {good[0]});
  const std::string other = good[1];
  std::string text = registry.manifests["app/v1"];
  const size_t at = text.rfind(digest_of(good[0]));
  text.replace(at, digest_of(good[0]).size(), digest_of(other));
  const std::string sized = "\"size\":" + std::to_string(good[0].size());
  text.replace(text.rfind(sized), sized.size(), "\"size\":" + std::to_string(other.size()));
  registry.manifests["app/v1"] = text;
  registry.blobs[digest_of(other)] = other;
  const auto root = device.pull(registry.authority() + "/app:v1");
  REQUIRE_FALSE(root.has_value());
  CHECK_EQ(root.error().code, Errc::corrupt);
  CHECK_NE(access(Store(dir.path + "/store").blob_path(digest_of(other)).c_str(), F_OK), 0);
}

TEST_CASE("a damaged configuration is fetched again") {
  NEEDS_ROOT();
  World w;
  const std::string path = Store(w.dir.path + "/store").blob_path(w.root.image_id);
  rot(path);
  CHECK_FALSE(w.device.store->find(w.name()));
  const auto root = w.device.pull(w.name());
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  CHECK_EQ(root->config_json, w.root.config_json);
  CHECK(w.device.store->find(w.name()));
}

TEST_CASE("what only a secret opens is taken away, for the pull that has it") {
  NEEDS_ROOT();
  World w;
  w.registry.basic = base64_encode("user:secret");
  rot(w.tool());
  const auto refused = w.device.repair(w.root.image_id);
  REQUIRE_FALSE(refused.has_value());
  CHECK_MESSAGE(refused.error().message.find("taken away, to be pulled anew") != std::string::npos,
                refused.error().message);
  CHECK_FALSE(w.device.store->find(w.name()));
  const std::string config =
      R"({"auths":{")" + w.registry.authority() + R"(":{"auth":")" + w.registry.basic + "\"}}}";
  REQUIRE(w.device.pull(w.name(), {config}).has_value());
  CHECK(w.whole());
}

TEST_CASE("without a registry the damaged layer stays: it may do for others") {
  NEEDS_ROOT();
  World w;
  w.registry.dead = true;
  rot(w.tool());
  const auto repaired = w.device.repair(w.root.image_id);
  REQUIRE_FALSE(repaired.has_value());
  CHECK(w.device.store->find(w.name()));
}

// A container that runs has its files from the layer that is replaced.
TEST_CASE("what stands on a damaged layer keeps it until it is let go") {
  NEEDS_ROOT();
  World w;
  w.device.store->set_in_use({w.root.image_id});
  const UniqueFd below(open(w.root.lower_dirs[1].c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(below);
  REQUIRE_EQ(unlinkat(below.get(), "bin/tool", 0), 0);
  const UniqueFd bin(openat(below.get(), "bin", O_PATH | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(w.device.repair(w.root.image_id).has_value());
  REQUIRE(w.device.loop.run_until([&] { return w.device.store->quiet(); }, 30000));
  CHECK(w.whole());
  CHECK_EQ(faccessat(below.get(), "bin", F_OK, 0), 0);
  w.device.store->set_in_use({});
  REQUIRE(w.device.repair(w.root.image_id).has_value());
  REQUIRE(w.device.loop.run_until([&] { return w.device.store->quiet(); }, 30000));
  CHECK_NE(faccessat(below.get(), "bin", F_OK, 0), 0);
  CHECK(w.whole());
}

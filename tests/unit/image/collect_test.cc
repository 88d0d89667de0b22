// What is removed and when: by hand, when the disk is full, and never below a pull that needs it.
#include <dirent.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "base/failpoint.h"
#include "device.h"
#include "fake_registry.h"

using namespace limpet;
using namespace limpet::image;

TEST_CASE("an image that is pulled again while its layers are being removed is whole") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  registry.add("app", "v1", many_layers(20));
  const std::string name = registry.authority() + "/app:v1";
  REQUIRE(device.pull(name).has_value());
  // Pulled an hour ago, so that no youth protects them.
  REQUIRE_EQ(std::system(("touch -d '1 hour ago' '" + dir.path + "'/store/layers/*").c_str()), 0);
  // Long enough for the pull to look which layers are there while none is gone yet.
  failpoint::arm("image.layer.remove=sleep:300@3");
  REQUIRE(device.remove(name).has_value());
  const auto root = device.pull(name);
  REQUIRE(device.loop.run_until([] { return failpoint::hits()["image.layer.remove"] == 20; }, 30000));
  failpoint::arm("");
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  REQUIRE_EQ(root->lower_dirs.size(), 20);
  for (size_t i = 0; i < 20; ++i)
    CHECK_EQ(text_of(root->lower_dirs[19 - i] + "/f" + std::to_string(i)), std::to_string(i));
  CHECK(device.store->find(name));
}

namespace {

constexpr int64_t minute = 60'000;

bool has(const std::vector<ImageInfo>& images, const std::string& reference) {
  return std::any_of(images.begin(), images.end(), [&](const ImageInfo& i) {
    return std::find(i.references.begin(), i.references.end(), reference) != i.references.end();
  });
}

size_t entries(const std::string& path) {
  size_t count = 0;
  DIR* dir = opendir(path.c_str());
  REQUIRE(dir != nullptr);
  while (const dirent* e = readdir(dir)) count += e->d_name[0] == '.' ? 0 : 1;
  closedir(dir);
  return count;
}

// A disk of which every layer takes ten percent, and three images of one layer: a, b and c, in the order of
// their last use.
struct SmallDisk {
  SmallDisk()
      : device(dir.path + "/store",
               [this](ImageStoreOptions& o) {
                 o.gc_high_percent = 85;
                 o.gc_low_percent = 80;
                 o.disk_used = [this](const std::string& path) {
                   return used_without + 10 * static_cast<int>(entries(path + "/layers"));
                 };
               }),
        registry(device.loop) {
    device.store->set_in_use({});
    for (const char* tag : {"a", "b", "c"}) {
      pull(tag);
      device.clock.ahead_ms += minute;
    }
  }
  void pull(const std::string& tag) {
    registry.add("app", tag, many_layers(1, tag));
    REQUIRE(device.pull(name(tag)).has_value());
  }
  std::string name(const std::string& tag) const { return registry.authority() + "/app:" + tag; }
  std::string id(const std::string& tag) { return device.store->find(name(tag))->image_id; }
  // What is left once the store has had its way.
  std::string collect() {
    device.store->collect();
    device.loop.run_until([&] { return device.store->quiet(); }, 30000);
    std::string out;
    for (const char* tag : {"a", "b", "c"}) {
      const bool listed = has(device.store->list(), name(tag));
      CHECK_EQ(listed, device.store->find(name(tag)).has_value());
      if (listed) out += tag;
    }
    return out;
  }

  TempDir dir;
  int used_without = 0;
  Device device;
  FakeRegistry registry;
};

}  // namespace

TEST_CASE("collection: the least recently used go until the disk is empty enough") {
  NEEDS_ROOT();
  SmallDisk disk;
  disk.device.clock.ahead_ms += 10 * minute;
  disk.used_without = 50;
  CHECK_EQ(disk.collect(), "abc");  // 80
  disk.used_without = 55;
  CHECK_EQ(disk.collect(), "abc");  // 85 is not above 85
  SUBCASE("until the low mark is reached") {
    disk.used_without = 61;
    CHECK_EQ(disk.collect(), "c");  // 91, 81, 71
    CHECK_EQ(entries(disk.dir.path + "/store/layers"), 1);
    CHECK_EQ(entries(disk.dir.path + "/store/tmp"), 0);
  }
  SUBCASE("a pull of what is here counts as a use") {
    REQUIRE(disk.device.pull(disk.name("a")).has_value());
    disk.device.clock.ahead_ms += 10 * minute;
    disk.used_without = 56;
    CHECK_EQ(disk.collect(), "ac");
  }
  SUBCASE("having been run counts as a use") {
    disk.device.store->set_in_use({disk.id("a")});
    disk.device.clock.ahead_ms += 10 * minute;
    disk.device.store->set_in_use({});
    disk.device.clock.ahead_ms += 10 * minute;
    disk.used_without = 56;
    CHECK_EQ(disk.collect(), "ac");
  }
  SUBCASE("what goes is gone for the next daemon too") {
    disk.used_without = 61;
    CHECK_EQ(disk.collect(), "c");
    Device again(disk.dir.path + "/store");
    CHECK_FALSE(again.store->find(disk.name("a")));
    CHECK(again.store->find(disk.name("c")));
  }
}

TEST_CASE("when the disk is full what nobody has a use for goes before any image") {
  NEEDS_ROOT();
  SmallDisk disk;
  const std::string dead = disk.dir.path + "/store/layers/dead";
  REQUIRE(make_directories(dead, 0700).has_value());
  disk.device.clock.ahead_ms += 60 * minute;
  CHECK_EQ(disk.collect(), "abc");  // seen
  disk.device.clock.ahead_ms += 11 * minute;
  disk.used_without = 50;
  CHECK_EQ(disk.collect(), "abc");  // 90, 80
  CHECK_NE(access(dead.c_str(), F_OK), 0);
  SUBCASE("what broke off a moment ago may be gone on with, and stays") {
    REQUIRE(make_directories(dead, 0700).has_value());
    CHECK_EQ(disk.collect(), "bc");
    CHECK_EQ(access(dead.c_str(), F_OK), 0);
  }
}

TEST_CASE("collection spares what is used, by id and by name, what is young and what is pinned") {
  NEEDS_ROOT();
  SmallDisk disk;
  disk.used_without = 70;
  SUBCASE("young: c came a minute ago, b two") {
    CHECK_EQ(disk.collect(), "c");
    disk.used_without = 90;
    CHECK_EQ(disk.collect(), "c");
    disk.device.clock.ahead_ms += minute;
    CHECK_EQ(disk.collect(), "");
  }
  SUBCASE("a daemon that just started calls everything young") {
    Device again(disk.dir.path + "/store", [&](ImageStoreOptions& o) {
      o.gc_high_percent = o.gc_low_percent = 0;
      o.disk_used = [](const std::string&) { return 100; };
    });
    again.store->set_in_use({});
    again.store->collect();
    again.loop.run_until([&] { return again.store->quiet(); }, 30000);
    CHECK_EQ(again.store->list().size(), 3);
  }
  SUBCASE("in use by id") {
    disk.device.store->set_in_use({disk.id("a")});
    disk.device.clock.ahead_ms += 10 * minute;
    CHECK_EQ(disk.collect(), "a");
  }
  SUBCASE("in use by name: its container did not start yet") {
    disk.device.store->set_in_use({disk.name("b")});
    disk.device.clock.ahead_ms += 10 * minute;
    CHECK_EQ(disk.collect(), "b");
  }
  SUBCASE("in use by name and digest") {
    disk.device.store->set_in_use({disk.device.store->find(disk.name("c"))->repo_digest});
    disk.device.clock.ahead_ms += 10 * minute;
    CHECK_EQ(disk.collect(), "c");
  }
  SUBCASE("let go of just now") {
    disk.device.store->set_in_use({disk.id("a")});
    disk.device.clock.ahead_ms += 10 * minute;
    disk.device.store->set_in_use({});
    CHECK_EQ(disk.collect(), "a");
  }
}

TEST_CASE("nothing is collected before it is known what is in use") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store", [](ImageStoreOptions& o) {
    o.gc_high_percent = o.gc_low_percent = 0;
    o.disk_used = [](const std::string&) { return 100; };
  });
  FakeRegistry registry(device.loop);
  registry.add("app", "v1", two_layers());
  REQUIRE(device.pull(registry.authority() + "/app:v1").has_value());
  device.clock.ahead_ms += 10 * minute;
  device.store->collect();
  device.loop.run_until([&] { return device.store->quiet(); }, 30000);
  CHECK_EQ(device.store->list().size(), 1);
  device.store->set_in_use({});
  device.clock.ahead_ms += 10 * minute;
  device.store->collect();
  device.loop.run_until([&] { return device.store->quiet(); }, 30000);
  CHECK_EQ(device.store->list().size(), 0);
}

TEST_CASE("layers that a pull under way counts on outlive their image") {
  NEEDS_ROOT();
  SmallDisk disk;
  // "d" stands on the layer of "a" and has one more, for which the registry takes its time.
  const auto layers = std::vector<std::string>{many_layers(1, "a")[0], many_layers(1, "d")[0]};
  disk.registry.add("app", "d", layers);
  disk.registry.held = digest_of(layers[1]);
  std::optional<Result<ImageRoot>> pulled;
  auto pull =
      disk.device.store->pull({disk.name("d"), {}, {}}, [&](Result<ImageRoot> r) { pulled = std::move(r); });
  REQUIRE(disk.device.loop.run_until([&] { return disk.registry.waiting != nullptr; }, 30000));
  SUBCASE("of collection") {
    disk.device.clock.ahead_ms += 10 * minute;
    disk.used_without = 70;
    CHECK_EQ(disk.collect(), "");
  }
  SUBCASE("of removal") { REQUIRE(disk.device.remove(disk.name("a")).has_value()); }
  CHECK_FALSE(pulled);
  disk.registry.release();
  REQUIRE(disk.device.loop.run_until([&] { return pulled.has_value(); }, 30000));
  REQUIRE_MESSAGE(pulled->has_value(), pulled->error().message);
  CHECK_EQ(text_of((*pulled)->lower_dirs[1] + "/fa0"), "a0");
  CHECK_EQ(text_of((*pulled)->lower_dirs[0] + "/fd0"), "d0");
}

TEST_CASE("an image whose layer goes while it is pulled is not recorded") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  const auto layers = many_layers(2);
  registry.add("app", "base", {layers[0]});
  REQUIRE(device.pull(registry.authority() + "/app:base").has_value());
  registry.add("app", "v1", layers);
  registry.held = digest_of(layers[1]);
  const std::string name = registry.authority() + "/app:v1";
  std::optional<Result<ImageRoot>> pulled;
  auto pull = device.store->pull({name, {}, {}}, [&](Result<ImageRoot> r) { pulled = std::move(r); });
  REQUIRE(device.loop.run_until([&] { return registry.waiting != nullptr; }, 30000));
  REQUIRE_EQ(std::system(("rm -rf '" + dir.path + "'/store/layers/*").c_str()), 0);
  registry.release();
  REQUIRE(device.loop.run_until([&] { return pulled.has_value(); }, 30000));
  REQUIRE_FALSE(pulled->has_value());
  CHECK_EQ(device.store->list().size(), 1);
  const auto root = device.pull(name);
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  CHECK_EQ(text_of(root->lower_dirs[1] + "/f0"), "0");
}

TEST_CASE("a removal that breaks off leaves nothing that looks like an image") {
  NEEDS_ROOT();
  TempDir dir;
  const auto layers = many_layers(3);
  {
    Device device(dir.path + "/store");
    FakeRegistry registry(device.loop);
    registry.add("app", "v1", layers);
    REQUIRE(device.pull(registry.authority() + "/app:v1").has_value());
    failpoint::arm("image.layer.remove=error@2");
    REQUIRE(device.remove(registry.authority() + "/app:v1").has_value());
    REQUIRE(device.loop.run_until([&] { return device.store->quiet(); }, 30000));
    failpoint::arm("");
  }
  CHECK_EQ(entries(dir.path + "/store/layers"), 2);
  Device device(dir.path + "/store");
  CHECK(device.store->list().empty());
  FakeRegistry registry(device.loop);
  registry.add("app", "v1", layers);
  const auto root = device.pull(registry.authority() + "/app:v1");
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  for (int i = 0; i < 3; ++i)
    CHECK_EQ(text_of(root->lower_dirs[2 - i] + "/f" + std::to_string(i)), std::to_string(i));
}

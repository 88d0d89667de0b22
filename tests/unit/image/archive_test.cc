// Archives: what keeps an image pinned, what lets go of it, and what they may cost.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>

#include "../skip.h"
#include "device.h"
#include "fake_registry.h"

using namespace limpet;
using namespace limpet::image;

namespace {

// An OCI layout of one image as a tar file, made by the registry of the other tests.
std::string archive(loop::Loop& loop, const std::string& name, const std::vector<std::string>& layers) {
  FakeRegistry made(loop);
  const std::string digest = made.add("x", "y", layers);
  json::Writer index;
  index.begin_object().field("schemaVersion", 2).key("manifests").begin_array().begin_object();
  index.field("mediaType", "application/vnd.oci.image.manifest.v1+json").field("digest", digest);
  index.field("size", static_cast<int64_t>(made.manifests["x/y"].size()));
  index.key("annotations").begin_object().field("org.opencontainers.image.ref.name", name).end_object();
  index.end_object().end_array().end_object();
  std::string out = tar_block({.name = "index.json", .data = index.take()});
  made.blobs[digest] = made.manifests["x/y"];
  for (const auto& [of, bytes] : made.blobs)
    out += tar_block({.name = "blobs/sha256/" + of.substr(7), .data = bytes});
  return out + std::string(1024, '\0');
}

struct Archives {
  Archives() { REQUIRE(make_directories(dir.path + "/store-archives", 0755).has_value()); }
  std::string path(const std::string& file) const { return dir.path + "/store-archives/" + file; }
  void put(const std::string& file, const std::string& name, const std::vector<std::string>& layers) {
    loop::Loop loop;
    REQUIRE(write_file_atomic(path(file), archive(loop, name, layers), 0600).has_value());
  }
  // One start of the daemon. What happened, then the images: name, and whether it is pinned.
  std::vector<std::string> start() {
    Device device(dir.path + "/store");
    std::vector<std::string> out;
    bool over = false;
    device.store->import_archives([&](const std::string& archive, Result<> result) {
      if (archive.empty()) {
        over = true;
      } else {
        out.push_back((result ? "took " : "refused ") + archive.substr(archive.rfind('/') + 1));
      }
    });
    REQUIRE(device.loop.run_until([&] { return over; }, 30000));
    REQUIRE(device.loop.run_until([&] { return device.store->quiet(); }, 30000));
    for (const ImageInfo& image : device.store->list()) {
      const std::string name = image.references.empty() ? "(none)" : image.references.front();
      out.push_back(name.substr(name.rfind('/') + 1) + (image.pinned ? " pinned" : ""));
    }
    return out;
  }
  TempDir dir;
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("an image is pinned as long as an archive names it") {
  NEEDS_ROOT();
  Archives a;
  a.put("app.tar", "example.com/app:v1", many_layers(2, "a"));
  CHECK((a.start() == Lines{"took app.tar", "app:v1 pinned"}));
  CHECK((a.start() == Lines{"app:v1 pinned"}));
  SUBCASE("its archive is deleted") {
    REQUIRE_EQ(unlink(a.path("app.tar").c_str()), 0);
    CHECK((a.start() == Lines{"app:v1"}));
    CHECK((a.start() == Lines{"app:v1"}));
  }
  SUBCASE("its archive is replaced by a newer version") {
    a.put("app.tar", "example.com/app:v2", many_layers(2, "b"));
    CHECK((a.start() == Lines{"took app.tar", "app:v1", "app:v2 pinned"}));
    CHECK((a.start() == Lines{"app:v1", "app:v2 pinned"}));
  }
  SUBCASE("its archive is replaced by one that cannot be read") {
    REQUIRE(write_file_atomic(a.path("app.tar"), "no", 0600).has_value());
    CHECK((a.start() == Lines{"refused app.tar", "app:v1 pinned"}));
  }
  SUBCASE("another archive has it too") {
    a.put("copy.tar", "example.com/app:v1", many_layers(2, "a"));
    CHECK((a.start() == Lines{"took copy.tar", "app:v1 pinned"}));
    CHECK((a.start() == Lines{"app:v1 pinned"}));
    REQUIRE_EQ(unlink(a.path("app.tar").c_str()), 0);
    CHECK((a.start() == Lines{"app:v1 pinned"}));
    REQUIRE_EQ(unlink(a.path("copy.tar").c_str()), 0);
    CHECK((a.start() == Lines{"app:v1"}));
  }
  SUBCASE("an archive by hand, in another place, pins for good") {
    Device device(a.dir.path + "/store");
    const std::string path = a.dir.path + "/hand.tar";
    REQUIRE(write_file_atomic(path, archive(device.loop, "example.com/hand:v1", many_layers(1, "h")), 0600)
                .has_value());
    bool done = false;
    auto operation = device.store->import(path, true, [&](const Result<std::vector<std::string>>& r) {
      REQUIRE_MESSAGE(r.has_value(), r.error().message);
      done = true;
    });
    REQUIRE(device.loop.run_until([&] { return done; }, 30000));
    operation.reset();
    device.store.reset();
    REQUIRE_EQ(unlink(path.c_str()), 0);
    CHECK((a.start() == Lines{"app:v1 pinned", "hand:v1 pinned"}));
  }
}

TEST_CASE("a damaged layer of an archive's image comes from the archive again") {
  NEEDS_ROOT();
  Archives a;
  a.put("app.tar", "example.com/app:v1", many_layers(2, "a"));
  CHECK((a.start() == Lines{"took app.tar", "app:v1 pinned"}));
  Device device(a.dir.path + "/store");
  const auto root = device.store->find("example.com/app:v1");
  REQUIRE(root);
  REQUIRE_EQ(truncate((root->lower_dirs[1] + "/fa0").c_str(), 0), 0);
  const auto repaired = device.repair(root->image_id);
  REQUIRE_MESSAGE(repaired.has_value(), repaired.error().message);
  CHECK_EQ(text_of(root->lower_dirs[1] + "/fa0"), "a0");
  CHECK(device.store->list().front().pinned);
}

TEST_CASE("an archive does not take the last of the disk") {
  NEEDS_ROOT();
  TempDir dir;
  const MemoryDisk disk(dir.path + "/small", "size=40m");
  const std::string& small = disk.path;
  if (!disk.mounted) SKIP_TEST("no tmpfs can be mounted here");
  const auto import_of = [&](size_t megabytes) {
    Device device(small + "/store");
    const std::string path = dir.path + "/app.tar";
    const std::string layer = tar_of({{.name = "data", .data = big(megabytes << 20)}});
    REQUIRE(write_file_atomic(path, archive(device.loop, "example.com/app:v1", {layer}), 0600).has_value());
    std::optional<Result<std::vector<std::string>>> out;
    auto operation =
        device.store->import(path, true, [&](Result<std::vector<std::string>> r) { out = std::move(r); });
    REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 60000));
    return *out;
  };
  const auto refused = import_of(30);
  REQUIRE_FALSE(refused.has_value());
  CHECK_EQ(refused.error().code, Errc::exhausted);
  CHECK_MESSAGE(refused.error().message.find("no space left on device") != std::string::npos,
                refused.error().message);
  // Its layer is not copied out of the archive: both fit where three would not.
  const auto taken = import_of(10);
  CHECK_MESSAGE(taken.has_value(), taken.error().message);
}

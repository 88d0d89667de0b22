// An ImageStore with a loop of its own, and images for it.
#pragma once

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../skip.h"
#include "../unpack/support.h"
#include "base/clock.h"
#include "image/images.h"
#include "tar.h"

#define NEEDS_ROOT() \
  if (geteuid() != 0) SKIP_TEST("unpacking a layer needs root")

namespace limpet::image {

// The time of this machine, moved forward by hand.
class ShiftedClock final : public Clock {
 public:
  int64_t monotonic_ms() override { return real_.monotonic_ms() + ahead_ms; }
  WallTime wall() override {
    WallTime t = real_.wall();
    t.seconds += ahead_ms / 1000;
    return t;
  }
  int64_t ahead_ms = 0;

 private:
  SystemClock real_;
};

// A file system of its own for what must not fit, such as "size=40m".
struct MemoryDisk {
  MemoryDisk(std::string where, const char* size) : path(std::move(where)) {
    mounted = mkdir(path.c_str(), 0755) == 0 && mount("tmpfs", path.c_str(), "tmpfs", 0, size) == 0;
  }
  ~MemoryDisk() {
    if (mounted) umount2(path.c_str(), MNT_DETACH);
  }
  MemoryDisk(const MemoryDisk&) = delete;

  std::string path;
  bool mounted = false;
};

struct Device {
  explicit Device(const std::string& directory, const std::function<void(ImageStoreOptions&)>& change = {},
                  tls::Engine* engine = nullptr) {
    ImageStoreOptions options;
    options.directory = directory;
    options.archives_dir = directory + "-archives";
    options.unpack.program = LIMPET_UNPACK;
    // How full this machine's disk is must not decide what tests see.
    options.gc_high_percent = options.gc_low_percent = 100;
    if (change) change(options);
    store = std::make_unique<ImageStore>(loop, clock, engine, std::move(options));
    std::string warning;
    const auto opened = store->open(&warning);
    REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
    CHECK_EQ(warning, "");
  }
  ~Device() {
    operations.clear();
    store.reset();
  }

  Result<ImageRoot> pull(const std::string& reference, std::vector<std::string> configs = {}) {
    std::optional<Result<ImageRoot>> out;
    auto operation =
        store->pull({reference, std::move(configs), {}}, [&](Result<ImageRoot> r) { out = std::move(r); });
    REQUIRE(loop.run_until([&] { return out.has_value(); }, 60000));
    return std::move(*out);
  }
  Result<> remove(const std::string& reference) {
    std::optional<Result<>> out;
    auto operation = store->remove(reference, [&](Result<> r) { out = std::move(r); });
    REQUIRE(loop.run_until([&] { return out.has_value(); }, 60000));
    return std::move(*out);
  }
  Result<> repair(const std::string& image_id) {
    std::optional<Result<>> out;
    auto operation = store->repair(image_id, [&](Result<> r) { out = std::move(r); });
    REQUIRE(loop.run_until([&] { return out.has_value(); }, 60000));
    return std::move(*out);
  }

  loop::Loop loop;
  ShiftedClock clock;
  std::unique_ptr<ImageStore> store;
  std::vector<std::unique_ptr<Operation>> operations;
};

inline std::string text_of(const std::string& path) {
  auto text = read_file(path, 1 << 24);
  return text ? *text : "(" + text.error().message + ")";
}

inline std::vector<std::string> two_layers() {
  return {
      tar_of({{.name = "etc/", .type = '5', .mode = 0750, .uid = 7}, {.name = "etc/base", .data = "base"}}),
      tar_of({{.name = "etc/top", .data = "top"}, {.name = "etc/.wh.base"}})};
}

// Layers no other image has: one file each, named and filled with what is given.
inline std::vector<std::string> many_layers(size_t count, const std::string& mark = "") {
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) {
    const std::string name = mark + std::to_string(i);
    out.push_back(tar_of({{.name = "f" + name, .data = name}}));
  }
  return out;
}

// Bytes that do not compress, always the same.
inline std::string big(size_t size) {
  std::string out(size, '\0');
  uint64_t x = 88172645463325252ull;
  for (char& c : out) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    c = static_cast<char>(x);
  }
  return out;
}

}  // namespace limpet::image

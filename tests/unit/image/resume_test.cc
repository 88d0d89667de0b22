// Pulls that break off and are gone on with: by a broken link, a daemon that was killed, a power cut. The
// registry counts what it served, so that what is fetched twice shows.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/boot.h"
#include "device.h"
#include "fake_registry.h"
#include "image/partial.h"

using namespace limpet;
using namespace limpet::image;

namespace {

constexpr size_t mib = 1 << 20;
constexpr uint64_t little = mib;  // the daemon's buffers and those of a connection on loopback

// One layer of 12 MiB and some, in a registry.
struct Case {
  explicit Case(loop::Loop& loop) : registry(loop), layer(tar_of({{.name = "big", .data = big(12 * mib)}})) {
    registry.add("app", "v1", {layer});
    // The configuration, whatever it weighs, is not what this is about.
    for (const auto& [digest, bytes] : registry.blobs) {
      if (digest != digest_of(layer)) rest += bytes.size();
    }
  }
  std::string name() const { return registry.authority() + "/app:v1"; }
  std::string digest() const { return digest_of(layer); }
  FakeRegistry registry;
  std::string layer;
  uint64_t rest = 0;
};

std::string note_path(const std::string& store, const std::string& digest) {
  return Store(store).partial_path(digest) + Store::note_suffix;
}

// The note as another boot's: what a power cut leaves.
void other_boot(const std::string& path) {
  std::string text = text_of(path);
  for (size_t at = 0; (at = text.find(boot_id(), at)) != std::string::npos;)
    text.replace(at, boot_id().size(), "00000000-0000-0000-0000-000000000000");
  REQUIRE(write_file_atomic(path, text, 0600).has_value());
}

// A pull that is given up when the registry, which falls silent after so many bytes, has been heard.
void give_up_after(Device& device, Case& c, size_t bytes) {
  c.registry.stall_after = bytes;
  uint64_t loaded = 0;
  auto pull = device.store->pull({c.name(), {}, [&](const LayerProgress& p) { loaded = p.done; }},
                                 [](const Result<ImageRoot>&) { FAIL("it cannot end"); });
  REQUIRE(device.loop.run_until([&] { return loaded + 256 * 1024 >= bytes; }, 30000));
  pull.reset();
  c.registry.stall_after = 0;
  c.registry.waiting = nullptr;
}

void pull_all(Device& device, Case& c) {
  const auto root = device.pull(c.name());
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  CHECK(text_of(root->lower_dirs[0] + "/big") == big(12 * mib));
}

void corrupt_byte(const std::string& path, off_t at) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(fd);
  char c = 0;
  REQUIRE_EQ(pread(fd.get(), &c, 1, at), 1);
  c = static_cast<char>(c ^ 1);
  REQUIRE_EQ(pwrite(fd.get(), &c, 1, at), 1);
}

}  // namespace

TEST_CASE("a broken link is gone on with at the byte after") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case c(device.loop);
  c.registry.cut_after = 5 * mib;
  c.registry.cuts = 2;
  pull_all(device, c);
  CHECK_EQ(c.registry.resumed, 2);
  CHECK_LE(c.registry.served, c.layer.size() + c.rest + 2 * little);
  CHECK_NE(access(note_path(dir.path + "/store", c.digest()).c_str(), F_OK), 0);
}

TEST_CASE("what a killed daemon had is gone on with by the next, also after a power cut") {
  NEEDS_ROOT();
  TempDir dir;
  const std::string store = dir.path + "/store";
  uint64_t twice = little, served = 0;
  std::optional<Device> device(std::in_place, store);
  std::optional<Case> c(std::in_place, device->loop);
  give_up_after(*device, *c, 10 * mib);
  served = c->registry.served;
  c.reset();
  device.reset();
  const std::string digest = digest_of(tar_of({{.name = "big", .data = big(12 * mib)}}));
  const std::string partial = Store(store).partial_path(digest), note = note_path(store, digest);
  SUBCASE("as it was") {}
  SUBCASE("the power was cut: no more than since the last mark is lost") {
    other_boot(note);
    twice += 4 * mib;
  }
  SUBCASE("the power was cut, and what came since the last mark is zeros") {
    other_boot(note);
    REQUIRE_EQ(truncate(partial.c_str(), 9 * mib + 256 * 1024), 0);
    REQUIRE_EQ(truncate(partial.c_str(), 11 * mib), 0);
    twice += 4 * mib;
  }
  SUBCASE("the power was cut, and the file has fewer bytes than were marked") {
    other_boot(note);
    REQUIRE_EQ(truncate(partial.c_str(), 7 * mib), 0);
    twice += 7 * mib;
  }
  SUBCASE("a bit of what was marked flipped: back to the mark before") {
    corrupt_byte(partial, 6 * mib);
    twice += 7 * mib;
  }
  SUBCASE("the note is torn") {
    REQUIRE_EQ(truncate(note.c_str(), static_cast<off_t>(text_of(note).size() - 10)), 0);
    twice += 7 * mib;
  }
  SUBCASE("the note is gone: nothing is believed") {
    REQUIRE_EQ(unlink(note.c_str()), 0);
    twice += 10 * mib;
  }
  Device next(store);
  Case again(next.loop);
  pull_all(next, again);
  CHECK_LE(served + again.registry.served, again.layer.size() + 2 * again.rest + twice);
  CHECK_NE(access(partial.c_str(), F_OK), 0);
  CHECK_NE(access(note.c_str(), F_OK), 0);
}

TEST_CASE("bytes that an unnoticed fault changed are found by the digest and fetched again") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case c(device.loop);
  give_up_after(device, c, 6 * mib);
  corrupt_byte(Store(dir.path + "/store").partial_path(c.digest()), 5 * mib + 7);  // behind the last mark
  pull_all(device, c);
}

TEST_CASE("a registry that does not go on where it is asked to is begun with anew") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case c(device.loop);
  c.registry.cut_after = 5 * mib;
  c.registry.cuts = 1;
  SUBCASE("it knows no ranges") { c.registry.ranges = false; }
  SUBCASE("it refuses them") { c.registry.refused_ranges = 100; }
  SUBCASE("it sends another range") { c.registry.shifted = 7; }
  pull_all(device, c);
  // Twice at most, whatever was handed to the connection before it was given up.
  CHECK_LE(c.registry.served, 2 * c.layer.size() + c.rest + little);
}

TEST_CASE("a registry that knows no ranges, over a link that always breaks, is given up") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case c(device.loop);
  c.registry.cut_after = 5 * mib;
  c.registry.cuts = 1000;
  SUBCASE("it knows none") { c.registry.ranges = false; }
  SUBCASE("it refuses them") { c.registry.refused_ranges = 1000; }
  const auto root = device.pull(c.name());
  REQUIRE_FALSE(root.has_value());
  CHECK_EQ(errc_name(root.error().code), errc_name(Errc::unavailable));
  CHECK_LE(c.registry.served, 8 * 5 * mib);
}

TEST_CASE("what one mirror began, the next goes on with") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case mirror(device.loop), origin(device.loop);
  REQUIRE(device.store->configure({.mirrors = {{origin.registry.authority(), {mirror.registry.url()}}}})
              .has_value());
  SUBCASE("it breaks off for good") {
    mirror.registry.cut_after = 5 * mib;
    mirror.registry.cuts = 1000;
    mirror.registry.refused_ranges = 1000;
    pull_all(device, origin);
    CHECK_LE(mirror.registry.served + origin.registry.served, origin.layer.size() + origin.rest + little);
    CHECK_EQ(origin.registry.resumed, 1);
  }
  SUBCASE("it sends what is wrong") {
    mirror.registry.corrupt = {origin.digest()};
    pull_all(device, origin);
  }
  SUBCASE("it is busy: not waited for") {
    mirror.registry.busy = 1000;
    pull_all(device, origin);
    CHECK_EQ(mirror.registry.busy, 999);
  }
}

TEST_CASE("a mirror that is silent costs its time-out once") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  registry.add("app", "v1", many_layers(3, "a"));
  registry.add("app", "v2", many_layers(3, "b"));
  // Takes connections and says nothing.
  int dialled = 0;
  std::vector<std::unique_ptr<loop::Stream>> held;
  auto silent = loop::Listener::tcp(device.loop, "127.0.0.1", 0, [&](auto stream) {
    ++dialled;
    held.push_back(std::move(stream));
  });
  REQUIRE(silent.has_value());
  const std::string mirror = "http://127.0.0.1:" + std::to_string((*silent)->port());
  REQUIRE(device.store->configure({.mirrors = {{registry.authority(), {mirror}}}, .mirror_patience_ms = 1500})
              .has_value());
  REQUIRE(device.pull(registry.authority() + "/app:v1").has_value());
  CHECK_EQ(dialled, 1);
  REQUIRE(device.pull(registry.authority() + "/app:v2").has_value());
  CHECK_EQ(dialled, 1);
  device.clock.ahead_ms += 61'000;  // it is given another chance
  registry.add("app", "v3", many_layers(1, "c"));
  REQUIRE(device.pull(registry.authority() + "/app:v3").has_value());
  CHECK_EQ(dialled, 2);
}

TEST_CASE("a mirror that delivers, then breaks off, is no silent one: it is asked for the rest") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case mirror(device.loop), origin(device.loop);
  REQUIRE(device.store
              ->configure({.mirrors = {{origin.registry.authority(), {mirror.registry.url()}}},
                           .mirror_patience_ms = 1500})
              .has_value());
  mirror.registry.stall_after = 5 * mib;
  std::optional<Result<ImageRoot>> out;
  auto pull = device.store->pull({origin.name(), {}, {}}, [&](Result<ImageRoot> r) { out = std::move(r); });
  REQUIRE(device.loop.run_until([&] { return mirror.registry.waiting != nullptr; }, 30000));
  device.clock.ahead_ms += 60'000;
  mirror.registry.stall_after = 0;
  std::exchange(mirror.registry.waiting, nullptr)->abort();
  REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 30000));
  REQUIRE_MESSAGE(out->has_value(), out->error().message);
  CHECK_EQ(mirror.registry.resumed, 1);
  CHECK_EQ(origin.registry.served, 0);
}

TEST_CASE("what nobody asks for any more goes after a week; what is asked for stays") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case c(device.loop);
  device.store->set_in_use({});
  give_up_after(device, c, 5 * mib);
  const std::string partial = Store(dir.path + "/store").partial_path(c.digest());
  const auto days = [&](int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      device.clock.ahead_ms += 24 * 3600 * int64_t{1000};
      device.store->collect();
      REQUIRE(device.loop.run_until([&] { return device.store->quiet(); }, 30000));
    }
  };
  days(6);
  CHECK_EQ(access(partial.c_str(), F_OK), 0);
  give_up_after(device, c, 5 * mib);  // somebody asked
  days(6);
  CHECK_EQ(access(partial.c_str(), F_OK), 0);
  days(3);
  CHECK_NE(access(partial.c_str(), F_OK), 0);
  CHECK_NE(access(note_path(dir.path + "/store", c.digest()).c_str(), F_OK), 0);
}

TEST_CASE("a clock that went back to 1970 makes nothing old") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  Case c(device.loop);
  give_up_after(device, c, 5 * mib);
  const std::string partial = Store(dir.path + "/store").partial_path(c.digest());
  time_t written = 0;
  SUBCASE("it is in 1970, the file is not") { written = 4'000'000'000; }
  SUBCASE("the file is of 1970") { written = 1000; }
  const timespec times[2] = {{written, 0}, {written, 0}};
  REQUIRE_EQ(utimensat(AT_FDCWD, partial.c_str(), times, 0), 0);
  Device next(dir.path + "/store");
  next.store->set_in_use({});
  for (int hour = 0; hour < 3; ++hour) {
    REQUIRE(next.loop.run_until([&] { return next.store->quiet(); }, 30000));
    CHECK_EQ(access(partial.c_str(), F_OK), 0);
    next.clock.ahead_ms += 3600 * 1000;
    next.store->collect();
  }
}

TEST_CASE("what is left over grows old also on a device that is switched off every night") {
  NEEDS_ROOT();
  TempDir dir;
  const std::string store = dir.path + "/store";
  std::string digest;
  {
    Device device(store);
    Case c(device.loop);
    give_up_after(device, c, 5 * mib);
    digest = c.digest();
  }
  const std::string partial = Store(store).partial_path(digest), note = note_path(store, digest);
  const time_t written = time(nullptr) - 8 * 24 * 3600;
  const timespec times[2] = {{written, 0}, {written, 0}};
  for (const std::string& path : {partial, note}) REQUIRE_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  Device device(store);
  device.store->set_in_use({});
  REQUIRE(device.loop.run_until([&] { return device.store->quiet(); }, 30000));
  CHECK_EQ(access(partial.c_str(), F_OK), 0);  // not at once: whoever wants it may not have asked yet
  std::optional<Case> again;
  bool asked = false;
  SUBCASE("nobody asks") {}
  SUBCASE("somebody asks") {
    asked = true;
    again.emplace(device.loop);
    give_up_after(device, *again, 5 * mib);
  }
  device.clock.ahead_ms += 3600 * 1000;
  device.store->collect();
  REQUIRE(device.loop.run_until([&] { return device.store->quiet(); }, 30000));
  CHECK_EQ(access(partial.c_str(), F_OK) == 0, asked);
  CHECK_EQ(access(note.c_str(), F_OK) == 0, asked);
}

// Pulls from a registry of our own: the good way, and everything a registry can do wrong.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "device.h"
#include "fake_registry.h"

using namespace limpet;
using namespace limpet::image;

TEST_CASE("a pull gives the layers, uppermost first, and is found afterwards and after a restart") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  const std::string digest = registry.add("team/app", "v1", two_layers(), host_platform().architecture, true);
  const std::string name = registry.authority() + "/team/app";
  CHECK_FALSE(device.store->find(name + ":v1"));
  const auto root = device.pull(name + ":v1");
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  CHECK_EQ(root->repo_digest, name + "@" + digest);
  REQUIRE_EQ(root->lower_dirs.size(), 2);
  CHECK_EQ(text_of(root->lower_dirs[1] + "/etc/base"), "base");
  CHECK_EQ(text_of(root->lower_dirs[0] + "/etc/top"), "top");
  struct stat st{};
  REQUIRE_EQ(lstat((root->lower_dirs[0] + "/etc/base").c_str(), &st), 0);
  CHECK(S_ISCHR(st.st_mode));
  // A directory that only the lower layer describes keeps its owner and mode.
  REQUIRE_EQ(stat((root->lower_dirs[0] + "/etc").c_str(), &st), 0);
  CHECK_EQ(st.st_mode & 07777, 0750u);
  CHECK_EQ(st.st_uid, 7u);
  CHECK(device.store->find(name + ":v1"));
  CHECK(device.store->find(name + "@" + digest));
  CHECK(device.store->find(root->image_id));
  CHECK_FALSE(device.store->find(name + ":v2"));
  registry.log.clear();
  REQUIRE(device.pull(name + ":v1").has_value());
  CHECK(std::none_of(registry.log.begin(), registry.log.end(),
                     [](const std::string& l) { return l.find("/blobs/") != l.npos; }));
  Device again(dir.path + "/store");
  const auto found = again.store->find(name + ":v1");
  REQUIRE(found);
  CHECK((found->lower_dirs == root->lower_dirs));
  CHECK_EQ(found->config_json, root->config_json);
}

TEST_CASE("entries below a link of the layer below make a directory in its place") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  registry.add("app", "v1",
               {tar_of({{.name = "usr/lib/", .type = '5', .mode = 0710, .uid = 3},
                        {.name = "usr/lib/low", .data = "low"},
                        {.name = "lib", .type = '2', .link = "/usr/lib"},
                        {.name = "out", .type = '2', .link = "../../../../.."},
                        {.name = "loop", .type = '2', .link = "loop"}}),
                tar_of({{.name = "lib/high", .data = "high"},
                        {.name = "/out/x", .data = "x"},
                        {.name = "loop/y", .data = "y"}})});
  const auto root = device.pull(registry.authority() + "/app:v1");
  REQUIRE_MESSAGE(root.has_value(), root.error().message);
  CHECK_EQ(text_of(root->lower_dirs[0] + "/lib/high"), "high");
  struct stat st{};
  REQUIRE_EQ(lstat((root->lower_dirs[0] + "/lib").c_str(), &st), 0);
  CHECK(S_ISDIR(st.st_mode));
  // What the link stood for, looked up inside of its layer.
  CHECK_EQ(st.st_mode & 07777, 0710u);
  CHECK_EQ(st.st_uid, 3u);
  CHECK_EQ(text_of(root->lower_dirs[0] + "/out/x"), "x");
  CHECK_EQ(text_of(root->lower_dirs[0] + "/loop/y"), "y");
}

TEST_CASE("errors are worded as people know them") {
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  const std::string host = registry.authority();
  registry.add("other", "arch", two_layers(), "sparc");
  registry.manifests["big/latest"] = std::string(5 << 20, ' ');
  registry.manifests["old/latest"] = R"({"schemaVersion":1})";
  struct Row {
    std::string reference;
    Errc code;
    std::string says;
  };
  const Row rows[] = {
      {host + "/nope", Errc::not_found,
       "failed to pull and unpack image \"" + host + "/nope:latest\": failed to resolve reference \"" + host +
           "/nope:latest\": " + host + "/nope:latest: not found"},
      {host + "/other:arch", Errc::not_found, "the image is for linux/sparc"},
      {host + "/big", Errc::too_large, "manifest too large (limit 4 MiB)"},
      {host + "/old", Errc::unsupported, "schema 1"},
      {"127.0.0.1:1/x", Errc::unavailable,
       "failed to do request: Get \"http://127.0.0.1:1/v2/x/manifests/latest\""},
      {"Bad/Name", Errc::invalid_argument,
       "couldn't parse image name \"Bad/Name\": invalid reference format"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.reference);
    const auto root = device.pull(row.reference);
    REQUIRE_FALSE(root.has_value());
    CAPTURE(root.error().message);
    CHECK_EQ(errc_name(root.error().code), errc_name(row.code));
    CHECK(root.error().message.find(row.says) != std::string::npos);
  }
}

TEST_CASE("credentials: bearer token, basic, wrong ones, none") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  registry.add("app", "v1", two_layers());
  const std::string name = registry.authority() + "/app:v1";
  const std::string packed = base64_encode("user:secret");
  const std::string good = R"({"auths":{")" + registry.authority() + R"(":{"auth":")" + packed + R"("}}})";
  const std::string bad =
      R"({"auths":{")" + registry.authority() + R"(":{"username":"user","password":"wrong"}}})";
  registry.bearer = "t0ken";
  registry.token_basic = packed;
  CHECK_EQ(device.pull(name).error().code, Errc::unauthenticated);
  CHECK_EQ(device.pull(name, {bad}).error().code, Errc::unauthenticated);
  CHECK(device.pull(name, {bad, good}).has_value());
  CHECK_EQ(registry.scope, "repository:app:pull");
  registry.bearer.clear();
  registry.basic = packed;
  CHECK(device.pull(name, {good}).has_value());
  const auto refused = device.pull(name, {bad});
  REQUIRE_FALSE(refused.has_value());
  CHECK_EQ(refused.error().code, Errc::unauthenticated);
  CHECK(refused.error().message.find("pull access denied") != std::string::npos);
  CHECK(refused.error().message.find("wrong") == std::string::npos);
}

TEST_CASE("bytes that do not match are refused and not kept") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  const auto layers = two_layers();
  registry.add("app", "v1", layers);
  registry.corrupt = {digest_of(layers[1])};
  const auto root = device.pull(registry.authority() + "/app:v1");
  REQUIRE_FALSE(root.has_value());
  CHECK_EQ(root.error().code, Errc::corrupt);
  CHECK(root.error().message.find("layer " + digest_of(layers[1])) != std::string::npos);
  CHECK_NE(access(Store(dir.path + "/store").blob_path(digest_of(layers[1])).c_str(), F_OK), 0);
  registry.corrupt.clear();
  CHECK(device.pull(registry.authority() + "/app:v1").has_value());
}

TEST_CASE("a hostile layer ends the pull with layer and entry named") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  const std::string evil = tar_of({{.name = "../../evil", .data = "x"}});
  registry.add("app", "v1", {evil});
  const auto root = device.pull(registry.authority() + "/app:v1");
  REQUIRE_FALSE(root.has_value());
  CHECK(root.error().message.find("layer " + digest_of(evil) +
                                  ": entry \"../../evil\": path escapes the root") != std::string::npos);
}

TEST_CASE("redirects, busy registries and mirrors") {
  NEEDS_ROOT();
  TempDir dir;
  loop::Loop* loop = nullptr;
  Device device(dir.path + "/store");
  loop = &device.loop;
  FakeRegistry registry(*loop), storage(*loop);
  registry.add("app", "v1", two_layers());
  storage.blobs = registry.blobs;
  SUBCASE("redirect without our credentials") {
    registry.basic = base64_encode("u:p");
    registry.redirect_to = storage.url();
    const std::string config = R"({"auths":{"127.0.0.1*":{"username":"u","password":"p"},")" +
                               registry.authority() + R"(":{"username":"u","password":"p"}}})";
    const auto root = device.pull(registry.authority() + "/app:v1", {config});
    REQUIRE_MESSAGE(root.has_value(), root.error().message);
    CHECK_FALSE(storage.log.empty());
    CHECK(storage.credentials.empty());
  }
  SUBCASE("in a circle") {
    registry.redirect_to = registry.url();
    const auto root = device.pull(registry.authority() + "/app:v1");
    REQUIRE_FALSE(root.has_value());
    CHECK(root.error().message.find("10 redirects") != std::string::npos);
  }
  SUBCASE("busy for a while") {
    registry.busy = 2;
    CHECK(device.pull(registry.authority() + "/app:v1").has_value());
  }
  SUBCASE("mirror first, registry when the mirror has nothing") {
    FakeRegistry mirror(*loop);
    REQUIRE(device.store->configure({.mirrors = {{registry.authority(), {mirror.url()}}}}).has_value());
    CHECK(device.pull(registry.authority() + "/app:v1").has_value());
    CHECK_FALSE(mirror.log.empty());
    registry.log.clear();
    mirror.add("lib", "v1", two_layers());
    CHECK(device.pull(registry.authority() + "/lib:v1").has_value());
    CHECK(registry.log.empty());
  }
}

TEST_CASE("equal pulls are one, a cancelled one is silent") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  registry.add("app", "v1", two_layers());
  int done = 0;
  bool cancelled = false;
  for (int i = 0; i < 3; ++i) {
    device.operations.push_back(
        device.store->pull({registry.authority() + "/app:v1", {}, {}}, [&](Result<ImageRoot> r) {
          CHECK(r.has_value());
          ++done;
        }));
  }
  auto gone = device.store->pull({registry.authority() + "/app:v1", {}, {}},
                                 [&](Result<ImageRoot>) { cancelled = true; });
  gone.reset();
  REQUIRE(device.loop.run_until([&] { return done == 3; }, 30000));
  CHECK_FALSE(cancelled);
  CHECK_EQ(std::count_if(registry.log.begin(), registry.log.end(),
                         [](const std::string& l) { return l.find("/manifests/") != l.npos; }),
           1);
  // Alone and cancelled in the middle: nothing is called, the next one works.
  registry.add("app", "v2", {tar_of({{.name = "x", .data = big(2 << 20)}})});
  auto alone = device.store->pull({registry.authority() + "/app:v2", {}, {}},
                                  [&](Result<ImageRoot>) { cancelled = true; });
  device.loop.run_until(
      [&] { return registry.log.size() >= 3 && registry.log.back().find("/blobs/") != std::string::npos; },
      5000);
  alone.reset();
  CHECK(device.pull(registry.authority() + "/app:v2").has_value());
  CHECK_FALSE(cancelled);
}

TEST_CASE("damaged layers are made again; removal spares what is used") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry registry(device.loop);
  registry.add("app", "v1", two_layers());
  const std::string name = registry.authority() + "/app:v1";
  const auto root = device.pull(name);
  REQUIRE(root.has_value());
  // Emptied behind our back, as a file system may do after a power cut.
  REQUIRE_EQ(truncate((root->lower_dirs[1] + "/etc/base").c_str(), 0), 0);
  std::optional<Result<>> out;
  auto operation = device.store->repair(root->image_id, [&](Result<> r) { out = std::move(r); });
  REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 30000));
  REQUIRE_MESSAGE(out->has_value(), out->error().message);
  CHECK_EQ(text_of(root->lower_dirs[1] + "/etc/base"), "base");
  [[maybe_unused]] const int gone = std::system(("rm -rf '" + root->lower_dirs[0] + "'").c_str());
  CHECK_FALSE(device.store->find(name));
  REQUIRE(device.pull(name).has_value());
  CHECK_EQ(text_of(root->lower_dirs[0] + "/etc/top"), "top");
  device.store->set_in_use({root->image_id});
  out.reset();
  operation = device.store->remove(name, [&](Result<> r) { out = std::move(r); });
  REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 30000));
  REQUIRE_FALSE(out->has_value());
  CHECK_EQ(out->error().code, Errc::conflict);
  device.store->set_in_use({});
  out.reset();
  operation = device.store->remove(name, [&](Result<> r) { out = std::move(r); });
  REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 30000));
  CHECK(out->has_value());
  CHECK_FALSE(device.store->find(name));
  CHECK(device.store->list().empty());
}

// What a kill leaves on disk is what stopping at the point leaves, since nothing is written behind it: the
// store is dropped with all it had under way and opened anew.
TEST_CASE("broken off at every failpoint, the next daemon pulls and finds") {
  NEEDS_ROOT();
  for (const char* point : {"image.blob.write", "image.blob.mark", "image.blob.rename", "image.layer.unpack",
                            "image.layer.syncfs", "image.layer.rename", "image.record", "image.record.rename",
                            "image.record.synced"}) {
    CAPTURE(point);
    TempDir dir;
    auto layers = two_layers();
    if (std::string_view(point) == "image.blob.mark")  // large enough for one
      layers[0] = tar_of({{.name = "etc/base", .data = "base"}, {.name = "big", .data = big(6 << 20)}});
    {
      Device device(dir.path + "/store");
      FakeRegistry registry(device.loop);
      registry.add("app", "v1", layers);
      failpoint::arm(std::string(point) + "=error@1");
      const auto root = device.pull(registry.authority() + "/app:v1");
      const bool was_hit = failpoint::hits().contains(point);
      failpoint::arm("");
      if (!was_hit && !root.has_value()) MESSAGE(root.error().message);
      CHECK_FALSE(root.has_value());
    }
    Device device(dir.path + "/store");
    FakeRegistry registry(device.loop);
    registry.add("app", "v1", layers);
    const auto root = device.pull(registry.authority() + "/app:v1");
    REQUIRE_MESSAGE(root.has_value(), root.error().message);
    CHECK_EQ(text_of(root->lower_dirs[1] + "/etc/base"), "base");
    CHECK_EQ(text_of(root->lower_dirs[0] + "/etc/top"), "top");
  }
}

// Registries that lie, and disks without room: each ends with a named error, and what follows works.
#include <doctest/doctest.h>
#include <sys/statvfs.h>

#include "../skip.h"
#include "device.h"
#include "fake_registry.h"

using namespace limpet;
using namespace limpet::image;

namespace {

// Answers as the function says.
struct Liar {
  Liar(loop::Loop& loop, http::Handler answer) : server(loop, {}, std::move(answer)) {
    auto made = loop::Listener::tcp(loop, "127.0.0.1", 0, [this](auto s) { server.serve(std::move(s), {}); });
    listener = std::move(*made);
  }
  std::string image() const { return strf("127.0.0.1:%u/app:v1", listener->port()); }
  http::Server server;
  std::unique_ptr<loop::Listener> listener;
};

// Bytes without end, as long as somebody reads them. The answer lives as long as its connection.
void endless(const http::ExchangePtr& e) {
  e->on_gone([kept = e] {});
  http::Headers h;
  h.add("Content-Type", "application/vnd.oci.image.manifest.v1+json");
  e->begin(200, std::move(h));
  const auto more = [raw = e.get()] {
    while (raw->write_queue_size() < 200000) raw->write(std::string(50000, ' '));
  };
  e->on_drain(more);
  more();
}

int64_t used_bytes(const std::string& path) {
  struct statvfs s{};
  REQUIRE(statvfs(path.c_str(), &s) == 0);
  return static_cast<int64_t>((s.f_blocks - s.f_bfree) * s.f_frsize);
}

// A pull that is given up when so much of its layer is there.
void begin_with(Device& device, FakeRegistry& registry, const std::string& name, size_t bytes) {
  registry.stall_after = bytes;
  uint64_t loaded = 0;
  auto pull = device.store->pull({name, {}, [&](const LayerProgress& p) { loaded = p.done; }},
                                 [](const Result<ImageRoot>&) { FAIL("it cannot end"); });
  REQUIRE(device.loop.run_until([&] { return loaded + 256 * 1024 >= bytes; }, 30000));
  pull.reset();
  registry.stall_after = 0;
  registry.waiting = nullptr;
}

}  // namespace

TEST_CASE("a registry does not lead to files, to the device itself or to its link") {
  TempDir dir;
  Device device(dir.path + "/store");
  struct Row {
    const char *to, *says;
  };
  const char* const link = "an address of the device's own link, which is refused";
  for (const Row& row : {
           Row{"file:///etc/passwd", "redirects to an address that cannot be read"},
           Row{"ftp://mirror.example/x", "redirects to an address that cannot be read"},
           Row{"http://", "redirects to an address that cannot be read"},
           Row{"http://169.254.169.254/latest/meta-data/", link},
           Row{"http://2852039166/latest/meta-data/", link},
           Row{"http://0xa9.16689662/latest/meta-data/", link},
           Row{"http://[fe80::1]/x", link},
           Row{"http://[::ffff:169.254.169.254]/x", link},
       }) {
    CAPTURE(row.to);
    bool by_token = false;
    Liar liar(device.loop, [&](const http::ExchangePtr& e) {
      if (by_token) {
        return FakeRegistry::answer(
            e, 401, "", {{"WWW-Authenticate", std::string("Bearer realm=\"") + row.to + "\",service=\"x\""}});
      }
      FakeRegistry::answer(e, 307, "", {{"Location", row.to}});
    });
    const auto redirected = device.pull(liar.image());
    REQUIRE_FALSE(redirected.has_value());
    CHECK_MESSAGE(redirected.error().message.find(row.says) != std::string::npos, redirected.error().message);
    by_token = true;
    const auto token = device.pull(liar.image());
    REQUIRE_FALSE(token.has_value());
    const bool named = token.error().message.find(row.says) != std::string::npos ||
                       token.error().message.find("names no token server") != std::string::npos;
    CHECK_MESSAGE(named, token.error().message);
  }
}

TEST_CASE("an image is not asked for on the device's own link, whatever name it has there") {
  TempDir dir;
  Device device(dir.path + "/store");
  // The numbers are what the resolver makes that address of.
  for (const char* image : {"169.254.169.254/app:v1", "169.254.169.254:80/app:v1", "2852039166:80/app:v1"}) {
    CAPTURE(image);
    const auto pulled = device.pull(image);
    REQUIRE_FALSE(pulled.has_value());
    CHECK_MESSAGE(pulled.error().message.find("169.254.169.254 is an address of the device's own link") !=
                      std::string::npos,
                  pulled.error().message);
  }
}

TEST_CASE("answers without end, of the wrong length, of the wrong digest, of the wrong kind") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store");
  FakeRegistry honest(device.loop);
  const auto layers = two_layers();
  const std::string digest = honest.add("app", "v1", layers, host_platform().architecture, true);
  std::string path;  // of what is answered otherwise
  http::Handler lie;
  Liar liar(device.loop, [&](const http::ExchangePtr& e) {
    if (!path.empty() && e->request().path.find(path) != std::string::npos) return lie(e);
    honest.handle(e);
  });
  const std::string config = [&] {
    const auto value = json::parse(honest.manifests["app/" + digest]);
    const std::string inner(value->ref()["manifests"].at(1)["digest"].str());
    return std::string(json::parse(honest.manifests["app/" + inner])->ref()["config"]["digest"].str());
  }();
  const auto text = [](std::string body) {
    return [body](const http::ExchangePtr& e) { FakeRegistry::answer(e, 200, body); };
  };
  struct Row {
    const char* what;
    std::string path;
    http::Handler lie;
    Errc code;
    const char* says;
  };
  const std::string index = honest.manifests["app/v1"];
  const Row rows[] = {
      {"manifest without end", "/manifests/v1", endless, Errc::too_large, "manifest too large (limit 4 MiB)"},
      {"manifest that is none", "/manifests/v1", text("<html>"), Errc::corrupt, ""},
      {"index in an index", "/manifests/sha256:", text(index), Errc::corrupt, "does not match that digest"},
      {"configuration without end", config, endless, Errc::too_large, "too large"},
      {"another configuration", config, text("{}"), Errc::corrupt, "does not match that digest"},
      {"layer without end", digest_of(layers[0]), endless, Errc::corrupt,
       "more bytes than the manifest says"},
      {"another layer", digest_of(layers[0]), text(std::string(layers[0].size(), 'x')), Errc::corrupt,
       "do not match the digest"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    path = row.path;
    lie = row.lie;
    const auto root = device.pull(liar.image());
    REQUIRE_FALSE(root.has_value());
    CHECK_EQ(errc_name(root.error().code), errc_name(row.code));
    CHECK_MESSAGE(root.error().message.find(row.says) != std::string::npos, root.error().message);
    CHECK(device.store->list().empty());
  }
  // An index inside of an index, each with the digest that it is called by.
  std::string nested =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[)";
  nested += R"({"digest":")" + digest +
            strf(R"(","size":%zu,"platform":{"os":"linux","architecture":")",
                 honest.manifests["app/" + digest].size());
  nested += host_platform().architecture + R"("}}]})";
  path = "/manifests/v1";
  lie = text(nested);
  const auto deep = device.pull(liar.image());
  REQUIRE_FALSE(deep.has_value());
  CHECK(deep.error().message.find("an index inside of an index") != std::string::npos);
  path.clear();
  CHECK(device.pull(liar.image()).has_value());
}

TEST_CASE("a pull on a disk without room takes none, and works when there is some") {
  NEEDS_ROOT();
  TempDir dir;
  const MemoryDisk disk(dir.path + "/small", "size=48m");
  const std::string& small = disk.path;
  if (!disk.mounted) SKIP_TEST("no tmpfs can be mounted here");
  const std::string filler = small + "/filler";
  Device device(small + "/store");
  FakeRegistry registry(device.loop);
  const std::string layer = tar_of({{.name = "data", .data = big(8 << 20)}});
  registry.add("app", "v1", {layer});
  const std::string name = registry.authority() + "/app:v1";
  const int64_t before = used_bytes(small);
  SUBCASE("there is none from the start") {
    REQUIRE(write_file_atomic(filler, std::string(26 << 20, 'f'), 0600));
    const auto refused = device.pull(name);
    REQUIRE_FALSE(refused.has_value());
    CHECK_EQ(refused.error().code, Errc::exhausted);
    CHECK(refused.error().message.find("no space left on device") != std::string::npos);
  }
  SUBCASE("another takes it meanwhile") {
    registry.held = digest_of(layer);
    std::optional<Result<ImageRoot>> out;
    auto operation = device.store->pull({name, {}, {}}, [&](Result<ImageRoot> r) { out = std::move(r); });
    REQUIRE(device.loop.run_until([&] { return registry.waiting != nullptr; }, 10000));
    REQUIRE(write_file_atomic(filler, std::string(44 << 20, 'f'), 0600));
    registry.release();
    REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 30000));
    REQUIRE_FALSE(out->has_value());
    CHECK_EQ(out->error().code, Errc::exhausted);
    CHECK_MESSAGE(out->error().message.find("No space left on device") != std::string::npos,
                  out->error().message);
  }
  SUBCASE("most of it is there from an attempt before: the rest needs room, no more") {
    begin_with(device, registry, name, 6 << 20);
    REQUIRE(
        write_file_atomic(filler, std::string(22 << 20, 'f'), 0600));  // 20 MiB are free: 4 and the reserve
    std::optional<Result<ImageRoot>> out;
    auto operation = device.store->pull({name,
                                         {},
                                         [&](const LayerProgress& p) {  // unpacking needs room of its own
                                           if (p.phase == LayerProgress::Phase::unpacking)
                                             unlink(filler.c_str());
                                         }},
                                        [&](Result<ImageRoot> r) { out = std::move(r); });
    REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 30000));
    REQUIRE_MESSAGE(out->has_value(), out->error().message);
    CHECK_EQ(registry.resumed, 1);
    return;
  }
  SUBCASE("what is there from an attempt before cannot grow: it makes room for the others") {
    begin_with(device, registry, name, 6 << 20);
    REQUIRE(write_file_atomic(filler, std::string(25 << 20, 'f'), 0600));
    const auto refused = device.pull(name);
    REQUIRE_FALSE(refused.has_value());
    CHECK_EQ(refused.error().code, Errc::exhausted);
    const std::string partial = Store(small + "/store").partial_path(digest_of(layer));
    CHECK_NE(access(partial.c_str(), F_OK), 0);
    CHECK_NE(access((partial + Store::note_suffix).c_str(), F_OK), 0);
  }
  REQUIRE_EQ(unlink(filler.c_str()), 0);
  CHECK(used_bytes(small) - before < 256 << 10);  // what it had got is given back
  REQUIRE(device.pull(name).has_value());
}

TEST_CASE("layers that fit one by one, but not together, do not fill the disk") {
  NEEDS_ROOT();
  TempDir dir;
  const MemoryDisk disk(dir.path + "/small", "size=40m");
  const std::string& small = disk.path;
  if (!disk.mounted) SKIP_TEST("no tmpfs can be mounted here");
  Device device(small + "/store");
  FakeRegistry registry(device.loop);
  std::vector<std::string> layers;
  for (int i = 0; i < 3; ++i)
    layers.push_back(tar_of({{.name = strf("data%d", i), .data = strf("%d", i) + big(14 << 20)}}));
  registry.add("app", "v1", layers);
  int64_t most = 0;
  device.operations.push_back(nullptr);
  std::optional<Result<ImageRoot>> out;
  auto operation = device.store->pull({registry.authority() + "/app:v1", {}, {}},
                                      [&](Result<ImageRoot> r) { out = std::move(r); });
  REQUIRE(device.loop.run_until(
      [&] {
        most = std::max(most, used_bytes(small));
        return out.has_value();
      },
      60000));
  REQUIRE_FALSE(out->has_value());
  CHECK_EQ(out->error().code, Errc::exhausted);
  CHECK(most <= 26 << 20);  // 16 MiB stay for everyone else
}

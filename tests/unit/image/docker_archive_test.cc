// What `docker save` writes, in the forms of its versions, and what a stranger might write in its stead.
#include <doctest/doctest.h>

#include <algorithm>

#include "../unpack/gzip.h"
#include "device.h"
#include "fake_registry.h"

using namespace limpet;
using namespace limpet::image;

namespace {

std::string config_of(const std::vector<std::string>& layers) {
  json::Writer w;
  w.begin_object().field("os", "linux").field("architecture", host_platform().architecture);
  w.key("rootfs").begin_object().field("type", "layers").key("diff_ids").begin_array();
  for (const std::string& layer : layers) w.string(digest_of(layer));
  w.end_array().end_object().end_object();
  return w.take();
}

std::string list(const std::vector<std::string>& strings) {
  json::Writer w;
  w.begin_array();
  for (const std::string& s : strings) w.string(s);
  w.end_array();
  return w.take();
}

std::string manifest_of(const std::string& config, const std::vector<std::string>& layers,
                        const std::string& tags = R"(["example.com/app:v1"])") {
  return R"([{"Config":")" + config + R"(","RepoTags":)" + tags + R"(,"Layers":)" + list(layers) + "}]";
}

using Entries = std::vector<TarEntry>;

std::string tar_of_all(const Entries& entries) {
  std::string out;
  for (const TarEntry& e : entries) out += tar_block(e);
  return out + std::string(1024, '\0');
}

Result<std::vector<std::string>> import(Device& device, const std::string& archive) {
  TempDir dir;
  const std::string path = dir.path + "/app.tar";
  REQUIRE(write_file_atomic(path, archive, 0600).has_value());
  std::optional<Result<std::vector<std::string>>> out;
  auto operation =
      device.store->import(path, false, [&](Result<std::vector<std::string>> r) { out = std::move(r); });
  REQUIRE(device.loop.run_until([&] { return out.has_value(); }, 60000));
  return std::move(*out);
}

}  // namespace

TEST_CASE("archives of docker save, in the forms of its versions") {
  NEEDS_ROOT();
  const auto layers = two_layers();
  const std::string config = config_of(layers), config_file = sha256_hex(config) + ".json";
  struct Row {
    const char* form;
    std::string archive;
  };
  const Row rows[] = {
      {"1.10 to 24: a folder for each layer, and the tags once more in repositories",
       tar_of_all(
           {{.name = "aa/", .type = '5', .mode = 0755},
            {.name = "aa/layer.tar", .data = layers[0]},
            {.name = "bb/layer.tar", .data = layers[1]},
            {.name = config_file, .data = config},
            {.name = "manifest.json", .data = manifest_of(config_file, {"aa/layer.tar", "bb/layer.tar"})},
            {.name = "repositories", .data = R"({"example.com/app":{"v1":"bb"}})"}})},
      {"layers that are equal to those of other images are links to them",
       tar_of_all(
           {{.name = "cc/layer.tar", .data = layers[0]},
            {.name = "aa/layer.tar", .type = '2', .link = "../cc/layer.tar"},
            {.name = "bb/layer.tar", .data = layers[1]},
            {.name = config_file, .data = config},
            {.name = "manifest.json", .data = manifest_of(config_file, {"aa/layer.tar", "bb/layer.tar"})}})},
      {"layers that were compressed",
       tar_of_all({{.name = "aa.tar.gz", .data = gzip(layers[0])},
                   {.name = "bb.tar.gz", .data = gzip(layers[1])},
                   {.name = config_file, .data = config},
                   {.name = "manifest.json", .data = manifest_of(config_file, {"aa.tar.gz", "bb.tar.gz"})}})},
      {"25 and later: an OCI layout with manifest.json beside its index",
       tar_of_all({{.name = "blobs/sha256/" + sha256_hex(layers[0]), .data = layers[0]},
                   {.name = "blobs/sha256/" + sha256_hex(layers[1]), .data = layers[1]},
                   {.name = "blobs/sha256/" + sha256_hex(config), .data = config},
                   {.name = "index.json", .data = R"({"schemaVersion":2,"manifests":[]})"},
                   {.name = "oci-layout", .data = R"({"imageLayoutVersion":"1.0.0"})"},
                   {.name = "manifest.json",
                    .data = manifest_of("blobs/sha256/" + sha256_hex(config),
                                        {"blobs/sha256/" + sha256_hex(layers[0]),
                                         "blobs/sha256/" + sha256_hex(layers[1])})}})},
  };
  for (const Row& row : rows) {
    for (const bool compressed : {false, true}) {
      CAPTURE(row.form);
      CAPTURE(compressed);
      TempDir dir;
      Device device(dir.path + "/store");
      const auto names = import(device, compressed ? gzip(row.archive) : row.archive);
      REQUIRE_MESSAGE(names.has_value(), names.error().message);
      CHECK((*names == std::vector<std::string>{"example.com/app:v1"}));
      const auto root = device.store->find("example.com/app:v1");
      REQUIRE(root);
      CHECK_EQ(root->image_id, digest_of(config));
      CHECK_EQ(text_of(root->lower_dirs[0] + "/etc/top"), "top");
      CHECK_EQ(text_of(root->lower_dirs[1] + "/etc/base"), "base");
    }
  }
}

TEST_CASE("several images and images without a name in one archive") {
  NEEDS_ROOT();
  const auto one = many_layers(2, "a"), other = many_layers(1, "b");
  TempDir dir;
  Device device(dir.path + "/store");
  const std::string manifest = manifest_of("one.json", {"a0", "a1"}, R"(["x:1","y:2"])");
  const std::string unnamed = manifest_of("other.json", {"b0"}, "null");
  const auto names = import(
      device, tar_of_all({{.name = "a0", .data = one[0]},
                          {.name = "a1", .data = one[1]},
                          {.name = "b0", .data = other[0]},
                          {.name = "one.json", .data = config_of(one)},
                          {.name = "other.json", .data = config_of(other)},
                          {.name = "manifest.json",
                           .data = manifest.substr(0, manifest.size() - 1) + "," + unnamed.substr(1)}}));
  REQUIRE_MESSAGE(names.has_value(), names.error().message);
  CHECK((*names == std::vector<std::string>{"docker.io/library/x:1", "docker.io/library/y:2",
                                            digest_of(config_of(other))}));
  CHECK(device.store->find(digest_of(config_of(other))));
}

TEST_CASE("archives that lie, break or attack are refused, with the entry named") {
  NEEDS_ROOT();
  const auto layers = two_layers();
  const std::string config = config_of(layers);
  const std::string manifest = manifest_of("c.json", {"aa/layer.tar", "bb/layer.tar"});
  const auto with = [&](TarEntry first) {
    return Entries{first,
                   {.name = "bb/layer.tar", .data = layers[1]},
                   {.name = "c.json", .data = config},
                   {.name = "manifest.json", .data = manifest}};
  };
  const std::string wrong_name = "blobs/sha256/" + std::string(64, 'a');
  struct Row {
    const char* what;
    Entries entries;
    std::vector<std::string> says;
  };
  const Row rows[] = {
      {"older than 1.10",
       {{.name = "aa/layer.tar", .data = layers[0]},
        {.name = "aa/json", .data = "{}"},
        {.name = "repositories", .data = R"({"example.com/app":{"v1":"aa"}})"}},
       {"repositories", "before 1.10", "docker save"}},
      {"nothing of an image", {{.name = "x", .data = "x"}}, {"neither index.json nor manifest.json"}},
      {"a layer that is not there", with({.name = "other"}), {"aa/layer.tar", "not in the archive"}},
      {"a configuration that is not there",
       {{.name = "manifest.json", .data = manifest}},
       {"c.json", "not in the archive"}},
      {"another layer than the configuration says",
       with({.name = "aa/layer.tar", .data = tar_of({{.name = "x", .data = "y"}})}),
       {"aa/layer.tar", "the image configuration says " + digest_of(layers[0])}},
      {"a layer that is a folder",
       with({.name = "aa/layer.tar", .type = '5', .mode = 0755}),
       {"aa/layer.tar", "is not a file"}},
      {"a layer that is no tar", with({.name = "aa/layer.tar", .data = "no tar at all"}), {"aa/layer.tar"}},
      {"a layer with a way out",
       with({.name = "aa/layer.tar", .data = tar_of({{.name = "../../evil"}})}),
       {"../../evil", "escapes the root"}},
      {"a link out of the archive",
       with({.name = "aa/layer.tar", .type = '2', .link = "../../../../etc/passwd"}),
       {"aa/layer.tar", "leads out of the archive"}},
      {"an absolute link",
       with({.name = "aa/layer.tar", .type = '2', .link = "/etc/passwd"}),
       {"aa/layer.tar", "leads out of the archive"}},
      {"a link to itself",
       with({.name = "aa/layer.tar", .type = '2', .link = "layer.tar"}),
       {"aa/layer.tar"}},
      {"a device", with({.name = "aa/layer.tar", .type = '3'}), {"aa/layer.tar", "not a plain file"}},
      {"a hard link out of it",
       with({.name = "aa/layer.tar", .type = '1', .link = "../x"}),
       {"aa/layer.tar", "outside of the layer"}},
      {"an entry with a way out", with({.name = "../aa/layer.tar"}), {"../aa/layer.tar", "escapes the root"}},
      {"a configuration out of the archive",
       {{.name = "manifest.json", .data = manifest_of("../../../../../../etc/hostname", {"aa"})}},
       {"etc/hostname", "leads out of the archive"}},
      {"a blob that is not what its name says",
       {{.name = wrong_name, .data = layers[0]},
        {.name = "c.json", .data = config},
        {.name = "manifest.json", .data = manifest_of("c.json", {wrong_name, wrong_name})}},
       {wrong_name, "does not match its digest"}},
      {"a configuration that is not what its name says",
       {{.name = std::string(64, 'b') + ".json", .data = config},
        {.name = "manifest.json", .data = manifest_of(std::string(64, 'b') + ".json", {"aa", "bb"})}},
       {std::string(64, 'b') + ".json", "does not match its digest"}},
      {"fewer layers than the configuration says",
       {{.name = "aa", .data = layers[0]},
        {.name = "c.json", .data = config},
        {.name = "manifest.json", .data = manifest_of("c.json", {"aa"})}},
       {"c.json"}},
      {"a manifest that is no list",
       {{.name = "manifest.json", .data = R"({"Config":1})"}},
       {"manifest.json"}},
      {"a manifest that is too long",
       {{.name = "manifest.json", .data = std::string(5 << 20, ' ')}},
       {"manifest.json", "too large"}},
      {"too many layers",
       {{.name = "c.json", .data = config},
        {.name = "manifest.json", .data = manifest_of("c.json", std::vector<std::string>(129, "aa"))}},
       {"128 layers"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    TempDir dir;
    Device device(dir.path + "/store");
    const auto names = import(device, tar_of_all(row.entries));
    REQUIRE_FALSE(names.has_value());
    CAPTURE(names.error().message);
    for (const std::string& part : row.says) {
      CAPTURE(part);
      CHECK(names.error().message.find(part) != std::string::npos);
    }
    CHECK(device.store->list().empty());
    // A good one is taken afterwards, whatever the bad one left.
    CHECK(import(device, tar_of_all(with({.name = "aa/layer.tar", .data = layers[0]}))).has_value());
  }
}

TEST_CASE("an archive that unpacks to more than it may is refused") {
  NEEDS_ROOT();
  TempDir dir;
  Device device(dir.path + "/store", [](ImageStoreOptions& o) { o.unpack.max_bytes = 4 << 20; });
  const std::string zeros(8 << 20, '\0');
  const auto whole = import(device, gzip(tar_of_all({{.name = "aa/layer.tar", .data = zeros}})));
  REQUIRE_FALSE(whole.has_value());
  CHECK_MESSAGE(whole.error().message.find("aa/layer.tar") != std::string::npos, whole.error().message);
  const std::string layer = tar_of({{.name = "zeros", .data = zeros}});
  const auto inner = import(
      device, tar_of_all({{.name = "aa/layer.tar", .data = gzip(layer)},
                          {.name = "c.json", .data = config_of({layer})},
                          {.name = "manifest.json", .data = manifest_of("c.json", {"aa/layer.tar"})}}));
  REQUIRE_FALSE(inner.has_value());
  CHECK_MESSAGE(inner.error().message.find("aa/layer.tar") != std::string::npos, inner.error().message);
}

#include "image/manifest.h"

#include <sys/utsname.h>

#include "base/json.h"
#include "base/sha256.h"
#include "image/reference.h"

namespace limpet::image {
namespace {

constexpr uint64_t max_blob_bytes = 64ull << 30;
constexpr size_t max_entries = 1024;

constexpr std::string_view oci_manifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view oci_index = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view docker_manifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view docker_list = "application/vnd.docker.distribution.manifest.list.v2+json";

constexpr std::string_view layer_types[] = {
    "application/vnd.oci.image.layer.v1.tar",       "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",  "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.zstd",
};

Result<json::Value> read(std::string_view bytes, size_t limit, const char* what) {
  if (bytes.size() > limit) {
    return fail(Errc::too_large, strf("%s too large (limit %zu MiB)", what, limit >> 20));
  }
  auto value = json::parse(bytes, {.allow_duplicates = true});
  if (!value) return fail(Errc::corrupt, std::string("bad ") + what + ": " + value.error().message);
  if (!value->ref().is_object()) return fail(Errc::corrupt, std::string("bad ") + what + ": not an object");
  return value;
}

Result<Descriptor> descriptor(json::Ref ref, const char* what) {
  Descriptor out;
  out.media_type = ref["mediaType"].str();
  out.digest = ref["digest"].str();
  if (!valid_digest(out.digest)) {
    return fail(Errc::corrupt,
                strf("bad digest of %s: \"%.100s\" (only sha256 is known)", what, out.digest.c_str()));
  }
  const auto size = ref["size"].exact_integer();
  if (!size || *size < 0 || static_cast<uint64_t>(*size) > max_blob_bytes) {
    return fail(Errc::corrupt, strf("bad size of %s %s", what, out.digest.c_str()));
  }
  out.size = static_cast<uint64_t>(*size);
  const json::Ref platform = ref["platform"];
  out.platform.os = platform["os"].str();
  out.platform.architecture = platform["architecture"].str();
  out.platform.variant = platform["variant"].str();
  return out;
}

Result<> check_layer_type(const Descriptor& layer) {
  for (const std::string_view type : layer_types) {
    if (layer.media_type == type) return {};
  }
  return fail(Errc::unsupported, strf("layer %s has unsupported media type \"%.100s\"", layer.digest.c_str(),
                                      layer.media_type.c_str()));
}

int arm_version(const std::string& variant) {
  if (variant.empty()) return 7;
  if (variant.size() == 2 && variant[0] == 'v' && variant[1] >= '5' && variant[1] <= '8')
    return variant[1] - '0';
  return 0;
}

}  // namespace

const char* const manifest_types =
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

Platform host_platform() {
#if defined(__x86_64__)
  return {"linux", "amd64", ""};
#elif defined(__i386__)
  return {"linux", "386", ""};
#elif defined(__aarch64__)
  return {"linux", "arm64", "v8"};
#elif defined(__arm__)
  utsname name{};
  const bool v6 = uname(&name) == 0 && std::string_view(name.machine).starts_with("armv6");
  return {"linux", "arm", v6 ? "v6" : "v7"};
#else
  utsname name{};
  return {"linux", uname(&name) == 0 ? name.machine : "unknown", ""};
#endif
}

int platform_score(const Platform& host, const Platform& image) {
  if (image.os != host.os) return 0;
  if (host.architecture == "arm" && image.architecture == "arm") {
    const int mine = arm_version(host.variant), theirs = arm_version(image.variant);
    return theirs == 0 || theirs > mine ? 0 : theirs;  // the newest that runs
  }
  if (host.architecture == "amd64") {
    if (image.architecture == "386") return 1;
    if (image.architecture != "amd64") return 0;
    return image.variant.empty() || image.variant == "v1" ? 9 : 0;
  }
  if (host.architecture == "arm64" && image.architecture == "arm64") {
    return image.variant.empty() || image.variant == "v8" ? 9 : 0;
  }
  return image.architecture == host.architecture ? 9 : 0;
}

Result<DocumentKind> document_kind(std::string_view bytes, std::string_view content_type) {
  TRY(const json::Value value, read(bytes, max_manifest_bytes, "manifest"));
  const json::Ref doc = value;
  if (doc["schemaVersion"].integer() == 1) {
    return fail(Errc::unsupported, "schema 1 image manifests are no longer supported");
  }
  std::string_view type = doc["mediaType"].str();
  if (type.empty()) type = content_type.substr(0, content_type.find(';'));
  if (type == oci_manifest || type == docker_manifest) return DocumentKind::manifest;
  if (type == oci_index || type == docker_list) return DocumentKind::index;
  const bool said = !type.empty() && type != "application/json" && type != "application/octet-stream" &&
                    !type.starts_with("text/plain");
  if (said)
    return fail(Errc::unsupported,
                "unsupported manifest media type \"" + std::string(type.substr(0, 100)) + "\"");
  if (doc["manifests"].is_array()) return DocumentKind::index;
  if (doc["layers"].is_array()) return DocumentKind::manifest;
  return fail(Errc::unsupported, "neither an image manifest nor an index");
}

Result<Manifest> parse_manifest(std::string_view bytes) {
  TRY(const json::Value value, read(bytes, max_manifest_bytes, "manifest"));
  const json::Ref doc = value;
  Manifest out;
  TRY(out.config, descriptor(doc["config"], "the configuration"));
  if (out.config.size > max_config_bytes)
    return fail(Errc::too_large, "image configuration too large (limit 4 MiB)");
  const json::Ref layers = doc["layers"];
  if (layers.size() > max_layers) {
    return fail(Errc::too_large, strf("the image has %zu layers (limit %zu)", layers.size(), max_layers));
  }
  if (!layers.is_array() || layers.size() == 0) return fail(Errc::corrupt, "bad manifest: no layers");
  for (const json::Ref layer : layers) {
    TRY(Descriptor d, descriptor(layer, "a layer"));
    CHECK_OK(check_layer_type(d));
    out.layers.push_back(std::move(d));
  }
  return out;
}

Result<std::vector<Descriptor>> parse_index(std::string_view bytes) {
  TRY(const json::Value value, read(bytes, max_manifest_bytes, "manifest"));
  const json::Ref manifests = value.ref()["manifests"];
  if (!manifests.is_array()) return fail(Errc::corrupt, "bad image index: no manifests");
  if (manifests.size() > max_entries)
    return fail(Errc::too_large, "the image index has more than 1024 entries");
  std::vector<Descriptor> out;
  for (const json::Ref entry : manifests) {
    TRY(Descriptor d, descriptor(entry, "an entry of the index"));
    out.push_back(std::move(d));
  }
  return out;
}

Result<Descriptor> select_platform(const std::vector<Descriptor>& entries, const Platform& host) {
  const Descriptor* best = nullptr;
  int best_score = 0;
  for (const Descriptor& d : entries) {
    // An entry that does not say counts as the last resort; its configuration will tell.
    const int score = d.platform.architecture.empty() ? 0 : 10 * platform_score(host, d.platform);
    const bool silent = d.platform.architecture.empty() && best == nullptr;
    if (score > best_score || silent) {
      best = &d;
      best_score = score;
    }
  }
  if (best == nullptr) {
    const std::string variant = host.variant.empty() ? "" : "/" + host.variant;
    return fail(Errc::not_found, "no match for platform " + host.os + "/" + host.architecture + variant +
                                     " in manifest: not found");
  }
  return *best;
}

Result<ImageConfig> parse_config(std::string_view bytes, size_t layers, const Platform& host) {
  TRY(const json::Value value, read(bytes, max_config_bytes, "image configuration"));
  const json::Ref doc = value;
  ImageConfig out;
  out.platform.os = doc["os"].str("linux");
  out.platform.architecture = doc["architecture"].str();
  out.platform.variant = doc["variant"].str();
  if (out.platform.os.empty()) out.platform.os = "linux";
  if (!out.platform.architecture.empty() && platform_score(host, out.platform) == 0) {
    return fail(Errc::not_found, "the image is for " + out.platform.os + "/" + out.platform.architecture +
                                     ", this device is " + host.os + "/" + host.architecture);
  }
  const json::Ref ids = doc["rootfs"]["diff_ids"];
  if (ids.size() != layers) {
    return fail(Errc::corrupt,
                strf("image configuration names %zu layers, the manifest %zu", ids.size(), layers));
  }
  for (const json::Ref id : ids) {
    if (!valid_digest(id.str()))
      return fail(Errc::corrupt, "bad image configuration: a diff_id is no sha256 digest");
    out.diff_ids.emplace_back(id.str());
  }
  return out;
}

std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> out;
  for (const std::string& id : diff_ids) {
    out.push_back(out.empty() ? id : "sha256:" + sha256_hex(out.back() + " " + id));
  }
  return out;
}

}  // namespace limpet::image

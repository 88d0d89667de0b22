// What registries say about images: manifests, indexes (lists) and configurations, OCI and Docker schema 2.
//
// Sources: image-spec manifest.md, image-index.md, config.md; Docker's image-manifest-v2-2.md. Every byte is
// hostile: sizes, counts and digests are checked here, so that callers may rely on them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace limpet::image {

constexpr size_t max_manifest_bytes = 4 * 1024 * 1024;
constexpr size_t max_config_bytes = 4 * 1024 * 1024;
constexpr size_t max_layers = 128;

// For the Accept header, most wanted first.
extern const char* const manifest_types;

struct Platform {
  std::string os = "linux";
  std::string architecture;
  std::string variant;
};
// Of this device; a 32-bit program on a 64-bit kernel is a 32-bit device.
Platform host_platform();
// How well an image fits: 0 not at all, higher is better.
int platform_score(const Platform& host, const Platform& image);

struct Descriptor {
  std::string media_type;
  std::string digest;
  uint64_t size = 0;
  Platform platform;  // of an index's entries; empty architecture: not said
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // lowest first
};

struct ImageConfig {
  Platform platform;
  std::vector<std::string> diff_ids;  // lowest first
};

enum class DocumentKind { manifest, index };
// By mediaType, else the header's type, else the shape. Schema 1 and unknown types are `unsupported`.
Result<DocumentKind> document_kind(std::string_view bytes, std::string_view content_type);

Result<Manifest> parse_manifest(std::string_view bytes);
Result<std::vector<Descriptor>> parse_index(std::string_view bytes);
// The entry for this device. not_found: "no match for platform in manifest".
Result<Descriptor> select_platform(const std::vector<Descriptor>& entries, const Platform& host);
// Also checks that the configuration is for this device and knows each of the manifest's layers.
Result<ImageConfig> parse_config(std::string_view bytes, size_t layers, const Platform& host);

// The identity of a stack of layers: image-spec config.md, "Layer ChainID".
std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids);

}  // namespace limpet::image

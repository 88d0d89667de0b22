// Names of images: parsed, checked and completed as Docker and containerd do.
//
// Grammar: distribution/reference. "busybox" is docker.io/library/busybox:latest; a digest may stand instead
// of or behind a tag. Only sha256 digests are known. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::image {

// "sha256:" and 64 lower-case hexadecimal digits.
bool valid_digest(std::string_view digest);
// The 64 digits of a valid digest.
std::string_view digest_hex(std::string_view digest);

struct Reference {
  std::string domain;  // "docker.io", "registry.example:5000"
  std::string path;    // "library/busybox"
  std::string tag;     // empty only when there is a digest
  std::string digest;  // "sha256:..." or empty

  std::string name() const { return domain + "/" + path; }
  // What a registry is asked for: the digest, else the tag.
  const std::string& version() const { return digest.empty() ? tag : digest; }
  // "docker.io/library/busybox:latest", "...@sha256:...", or with both.
  std::string text() const;
};

// invalid_argument: `couldn't parse image name "X": invalid reference format`.
Result<Reference> parse_reference(std::string_view text);

}  // namespace limpet::image

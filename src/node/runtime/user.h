// Who a container's process is: the `user` of a pod or image against the image's own /etc/passwd and
// /etc/group.
//
// Both files are hostile: they are opened below the root only (openat2, no link leads out, no device is
// opened), at most 1 MB is read, damaged lines are skipped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace limpet::node {

struct ProcessUser {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // ascending, without gid
  std::string home = "/";
};

// Pure: `user` is "", "uid", "name", "uid:gid", "name:group" (OCI image specification, "User"). A number need
// not be in the files; an unknown name is invalid_argument.
Result<ProcessUser> resolve_user(std::string_view user, std::string_view passwd, std::string_view group);

// The same with the files of a mounted root.
Result<ProcessUser> resolve_user_in(const std::string& rootfs, std::string_view user);

// A regular file below root, links followed inside it. "" when there is none.
Result<std::string> read_in_root(const std::string& root, const std::string& path, size_t max_size);

}  // namespace limpet::node

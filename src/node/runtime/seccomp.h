// The built-in seccomp profile ("RuntimeDefault"): which system calls a container may make, given its
// capabilities and the machine. An allow-list; everything else fails with EPERM, clone3 with ENOSYS so that C
// libraries fall back to clone. The facts are those of the profile that Docker and containerd share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace limpet::node {

// The OCI `linux.seccomp` object. arch: "x86_64", "aarch64" or "arm".
std::string default_seccomp(const std::vector<std::string>& capabilities, std::string_view arch);

// Of the machine this was built for.
std::string_view machine_arch();

}  // namespace limpet::node

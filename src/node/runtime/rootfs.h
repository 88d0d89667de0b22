// Mounts below a container: the overlay root and volumes at a sub path.
// Blocking: runs on the pool. Everything here may meet files that a container made, so nothing follows a link
// out of its root.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "node/runtime/oci_spec.h"

namespace limpet::node {

// Overlay of the lower directories (uppermost first) and upper at target. Layers go by descriptor, so that
// neither their number (the kernel reads one page of options) nor odd characters in paths matter.
Result<> mount_overlay(const std::vector<std::string>& lower_dirs, const std::string& upper,
                       const std::string& work, const std::string& target);

// source/sub_path resolved inside source and bound to `holder` (made as file or directory): a path that stays
// what it is, whatever the owner of the volume does meanwhile. Missing directories are made (0750). Mounts
// that come or go below holder reach the source only when it is bidirectional.
Result<> bind_sub_path(const std::string& source, const std::string& sub_path, const std::string& holder,
                       bool bidirectional = false);

// From now on nothing that is unmounted below target goes elsewhere too. Nothing happens where nothing is
// mounted.
void part_from_peers(const std::string& target);
// All that lies on target, with what is mounted below; nothing of it where target came from, although that
// may share mounts with it. Idempotent.
Result<> unmount(const std::string& target);
bool is_mounted(const std::string& target);  // another device or file system than its parent

// Whether the kernel would mount a sysfs for this process's network namespace; not so where the namespace
// belongs to somebody else (a daemon in a container with the machine's network).
bool may_mount_sysfs();
bool has_mount_setattr();  // Linux 5.12: a tree of mounts can be made read-only

// Character and block devices below /dev, for privileged containers.
std::vector<SpecDevice> host_devices();

}  // namespace limpet::node

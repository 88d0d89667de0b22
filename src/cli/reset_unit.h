// What systemd's words say about the unit that runs limpetd. Pure.
#pragma once

#include <string>
#include <string_view>

namespace limpet::cli {

// "limpetd.service" of the text of /proc/PID/cgroup: the last part of the path in systemd's hierarchy. Empty:
// the process is in no service.
std::string service_of_groups(std::string_view groups);

// Of `systemctl show -p ActiveState -p ExecStart`: whether the unit runs limpetd with this configuration
// file, or will do so without being asked again (a crash loop).
bool unit_starts(std::string_view shown, const std::string& config_file);

}  // namespace limpet::cli

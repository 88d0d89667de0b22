#include "daemon/readers.h"

#include <grp.h>
#include <pwd.h>

#include <vector>

namespace limpet::daemon {
namespace {

constexpr size_t name_buffer_bytes = 16384;

}  // namespace

uint32_t group_id(const std::string& name) {
  if (name.empty()) return no_group;
  std::vector<char> buffer(name_buffer_bytes);
  group entry{};
  group* found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) return no_group;
  return found->gr_gid;
}

bool is_member(uint32_t uid, uint32_t primary_gid, uint32_t wanted_gid) {
  if (wanted_gid == no_group) return false;
  if (primary_gid == wanted_gid) return true;
  std::vector<char> buffer(name_buffer_bytes);
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || !found) return false;
  gid_t groups[256];
  int count = 256;
  if (getgrouplist(found->pw_name, found->pw_gid, groups, &count) < 0) return false;
  for (int i = 0; i < count; i++) {
    if (groups[i] == wanted_gid) return true;
  }
  return false;
}

}  // namespace limpet::daemon

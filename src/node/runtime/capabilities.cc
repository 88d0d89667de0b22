#include "node/runtime/capabilities.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>

#include "base/atomic_file.h"

namespace limpet::node {
namespace {

// linux/capability.h, by number.
constexpr std::string_view names =
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";
// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD
// AUDIT_WRITE SETFCAP
constexpr uint64_t defaults = 1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 |
                              1ull << 7 | 1ull << 8 | 1ull << 10 | 1ull << 13 | 1ull << 18 | 1ull << 27 |
                              1ull << 29 | 1ull << 31;

std::string_view name_of(int number) {
  std::string_view rest = names;
  for (int i = 0; i < number; ++i) {
    size_t space = rest.find(' ');
    if (space == std::string_view::npos) return {};
    rest.remove_prefix(space + 1);
  }
  return rest.substr(0, rest.find(' '));
}

Result<uint64_t> mask_of(const std::vector<std::string>& list, uint64_t all) {
  uint64_t mask = 0;
  for (const std::string& entry : list) {
    std::string upper = entry;
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    std::string_view wanted = upper;
    if (wanted == "ALL") {
      mask |= all;
      continue;
    }
    if (wanted.starts_with("CAP_")) wanted.remove_prefix(4);
    int number = 0;
    while (!name_of(number).empty() && name_of(number) != wanted) ++number;
    if (wanted.empty() || name_of(number).empty()) {
      return fail(Errc::invalid_argument, "unknown capability " + entry);
    }
    mask |= 1ull << number;
  }
  return mask & all;
}

std::vector<std::string> list_of(uint64_t mask) {
  std::vector<std::string> list;
  for (int i = 0; !name_of(i).empty(); ++i) {
    if ((mask >> i & 1) != 0) list.push_back("CAP_" + std::string(name_of(i)));
  }
  return list;
}

uint64_t all_mask(int known_last) { return known_last >= 63 ? ~0ull : (1ull << (known_last + 1)) - 1; }

bool mentions_all(const std::vector<std::string>& list) {
  return std::any_of(list.begin(), list.end(), [](const std::string& s) { return s == "ALL" || s == "all"; });
}

}  // namespace

Result<std::vector<std::string>> effective_capabilities(const std::vector<std::string>& add,
                                                        const std::vector<std::string>& drop,
                                                        int known_last) {
  uint64_t all = all_mask(known_last);
  TRY(uint64_t plus, mask_of(add, all));
  TRY(uint64_t minus, mask_of(drop, all));
  uint64_t base = mentions_all(add) ? all : defaults & all;
  if (mentions_all(drop)) return list_of(mentions_all(add) ? 0 : plus);
  return list_of((base | plus) & ~minus);
}

std::vector<std::string> all_capabilities(int known_last) { return list_of(all_mask(known_last)); }

std::vector<std::string> restrict_capabilities(const std::vector<std::string>& list, uint64_t mask) {
  std::vector<std::string> out;
  for (const std::string& name : list_of(mask)) {
    if (std::find(list.begin(), list.end(), name) != list.end()) out.push_back(name);
  }
  return out;
}

int kernel_last_capability() {
  Result<std::string> text = read_file("/proc/sys/kernel/cap_last_cap", 64);
  int last = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), last);
  return last > 0 && last < 63 ? last : 40;
}

}  // namespace limpet::node

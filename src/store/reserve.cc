#include "store/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/failpoint.h"
#include "base/unique_fd.h"

namespace limpet::store {
namespace {
constexpr off_t kBytes = 512 << 10;
}

void Reserve::refill() {
  if (held_) return;
  struct stat st;
  if (stat(path_.c_str(), &st) == 0 && st.st_size == kBytes && st.st_blocks * 512 >= kBytes) {
    held_ = true;
    return;
  }
  UniqueFd fd(open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  // Allocation without writing: no block of the device is written for it.
  held_ = fd && !LIMPET_FAILPOINT("store.reserve.refill") && fallocate(fd.get(), 0, 0, kBytes) == 0;
  if (!held_) unlink(path_.c_str());
}

bool Reserve::give_up() {
  if (!held_) return false;
  held_ = false;
  return !LIMPET_FAILPOINT("store.reserve.give_up") && unlink(path_.c_str()) == 0;
}

}  // namespace limpet::store

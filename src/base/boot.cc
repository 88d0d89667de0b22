#include "base/boot.h"

#include "base/atomic_file.h"

namespace limpet {

std::string boot_id() {
  Result<std::string> text = read_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

}  // namespace limpet

// Any bytes as limpetd's configuration: a configuration or problems, never both.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/config.h"

using namespace limpet::daemon;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Checked checked = check_config({reinterpret_cast<const char*>(data), size});
  if (checked.problems.size() > 20 || (checked.problems.empty() && checked.more_problems > 0)) abort();
  for (const Problem& p : checked.problems) {
    if (p.message.empty()) abort();
  }
  if (checked.problems.empty()) {
    const Config defaults = check_config("").config;
    (void)needs_restart(defaults, checked.config);
    if (!(reloaded(checked.config, checked.config) == checked.config)) abort();
  }
  return 0;
}

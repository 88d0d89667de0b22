#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace limpet {
void assert_failed(const char* file, int line, const char* expr) noexcept {
  fprintf(stderr, "<2>assertion failed: %s (%s:%d); this is a bug in limpet, please report it\n", expr, file,
          line);
  abort();
}
}  // namespace limpet

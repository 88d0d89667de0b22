// A directory of the test's own, which goes with everything that is in it.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <string>

#include "base/tree.h"

namespace limpet::test {

struct TempDir {
  std::string path = "/tmp/limpet-test-XXXXXX";

  TempDir() { REQUIRE(mkdtemp(path.data()) != nullptr); }
  ~TempDir() { CHECK(remove_tree(path).has_value()); }
  TempDir(const TempDir&) = delete;
};

}  // namespace limpet::test

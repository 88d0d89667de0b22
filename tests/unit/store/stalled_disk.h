// A disk that stands still, for one store of several in this process.
#pragma once

#include "base/failpoint.h"
#include "cluster.h"

namespace limpet::store::test {

// The disk of one store waits until this goes: nobody else in these tests saves a blob.
class StalledDisk {
 public:
  StalledDisk(Cluster& c, size_t n) {
    failpoint::arm("store.blob.commit=pause");
    c.store(n).save("stall", "x", [](const Result<>&) {});
  }
  ~StalledDisk() { failpoint::arm(""); }
  StalledDisk(const StalledDisk&) = delete;
};

}  // namespace limpet::store::test

// What the tests of this room share: a temporary directory, labels and manifests.
#pragma once

#include <cstdlib>
#include <string>

#include "backup/header.h"
#include "backup/records.h"
#include "base/atomic_file.h"
#include "base/tree.h"

namespace limpet::backup_test {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/limpet-backup-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() {
    if (!remove_tree(path)) std::abort();
  }
  TempDir(const TempDir&) = delete;
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string put(const std::string& name, const std::string& bytes) const {
    if (!write_file_atomic(*this / name, bytes, 0600)) std::abort();
    return *this / name;
  }
  std::string path;
};

inline backup::Label label(int64_t time = 1'795'000'000, int64_t revision = 1234, bool scheduled = false) {
  return {"0123456789abcdef", time, revision, scheduled};
}

inline backup::Manifest manifest() {
  backup::Manifest m;
  m.cluster = label().cluster;
  m.node = "pump-17";
  m.limpet = "0.1.0";
  m.time = 1'795'000'000;
  m.revision = 1234;
  m.term = 7;
  m.store_schema = 1;
  m.state_bytes = 5000;
  m.files = {{"ca.key", 3}, {"ca.crt", 0}};
  return m;
}

}  // namespace limpet::backup_test

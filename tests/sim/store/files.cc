// What tests/unit/store/disk.cc has from the harness of the unit tests, without that.
#include <fstream>
#include <sstream>

#include "../../unit/store/harness.h"

namespace limpet::store::test {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace limpet::store::test

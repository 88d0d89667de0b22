#include "cli/pulls.h"

#include "base/result.h"
#include "cli/format.h"

namespace limpet::cli {

std::string pull_text(json::Ref pull) {
  const std::string name(pull["reference"].str("?"));
  const int64_t done = pull["done"].integer(), total = pull["total"].integer();
  if (!pull["running"].boolean()) return name + ", waits for other pulls";
  if (total <= 0) return name + ", asking the registry";
  return strf("%s, %s of %s (%d%%), %lld of %lld layers", name.c_str(), human_size(done).c_str(),
              human_size(total).c_str(),
              static_cast<int>(100 * static_cast<double>(done) / static_cast<double>(total)),
              static_cast<long long>(pull["layersDone"].integer()),
              static_cast<long long>(pull["layers"].integer()));
}

}  // namespace limpet::cli

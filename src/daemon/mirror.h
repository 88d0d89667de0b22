// A live copy of what stands below one prefix of the durable space: for the few dozen records that the
// cluster keeps about itself. Loop thread; the space outlives it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "loop/loop.h"
#include "store/store.h"

namespace limpet::daemon {

class Mirror {
 public:
  // `changed` comes on later turns of the loop, first when all that there was has been read.
  Mirror(loop::Loop& loop, store::Space& space, std::string prefix, loop::Task changed);
  ~Mirror();
  Mirror(const Mirror&) = delete;

  bool known() const;  // all that there was is here, and what comes is followed
  // By key.
  const std::map<std::string, store::Item>& items() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::daemon

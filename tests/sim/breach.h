// What must not happen happened: the run ends and has failed. Anything else that ends it, an assertion or
// another exception, is a crash: also a failure, but not one that the simulator's rules have found.
#pragma once

#include <stdexcept>

namespace sim {

struct Breach : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace sim

// How the command ends, and what it says when that is not well.
#pragma once

#include <expected>
#include <string>

namespace limpet::cli {

enum Exit : int {
  exit_done = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_unreachable = 3,
  exit_not_found = 4,
};

struct Failure {
  int code = exit_failed;
  std::string message;  // empty: nothing is to be said (the reader of the output is gone)
};

template <class T = void>
using Outcome = std::expected<T, Failure>;

inline std::unexpected<Failure> failed(int code, std::string message) {
  return std::unexpected(Failure{code, std::move(message)});
}

}  // namespace limpet::cli

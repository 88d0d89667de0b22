// Runs limpet-unpack over one file and reads its report.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "image/store.h"
#include "loop/loop.h"
#include "loop/process.h"

namespace limpet::image {

struct UnpackOptions {
  std::string program;  // path of limpet-unpack
  uint64_t max_bytes = 16ull << 30;
  uint64_t max_entries = 1'000'000;
  uint64_t memory_bytes = 256ull << 20;
  int64_t deadline_ms = 3'600'000;
};

struct UnpackReport {
  std::string digest;  // of the uncompressed archive
  uint64_t bytes = 0;
  Store::Unpacked unpacked;
};

class Unpacking {
 public:
  using Done = std::function<void(Result<UnpackReport>)>;
  // Reads `file`, writes below `directory`, which must exist. mode: "layer" or "archive". done comes once,
  // not from inside; destroying kills the child.
  Unpacking(loop::Loop& loop, const UnpackOptions& options, const char* mode, const std::string& file,
            const std::string& directory, Done done);
  Unpacking(const Unpacking&) = delete;

 private:
  Result<> start(loop::Loop& loop, const UnpackOptions& options, const char* mode, const std::string& file,
                 const std::string& directory);
  void finish(Result<UnpackReport> report);

  Done done_;
  loop::Process process_;
  loop::Timer failed_;
};

// The child's line of JSON; for its tests.
Result<UnpackReport> parse_unpack_report(std::string_view text);

}  // namespace limpet::image

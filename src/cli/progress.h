// The progress of a pull or import: a bar on a terminal, a line per finished layer elsewhere. On standard
// error, so that standard output holds the result only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"

namespace limpet::cli {

class Progress {
 public:
  explicit Progress(const Output& output) : output_(output) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;

  // One layer's news; phase is "waiting", "downloading", "unpacking" or "complete".
  void layer(std::string_view digest, int64_t done, int64_t total, std::string_view phase, int64_t now_ms);
  // A line that stays. The bar goes on below it.
  void say(std::string_view text);
  // Takes the bar away.
  void clear();

  // What the bar looks like, at most `width` columns. Pure.
  std::string bar(size_t width) const;

 private:
  struct Layer {
    std::string digest, phase;
    int64_t done = 0, total = 0;
  };
  void draw(int64_t now_ms, bool at_once);

  const Output& output_;
  std::vector<Layer> layers_;  // bounded: what is beyond is not shown
  int64_t drawn_ms_ = -1'000'000;
  bool shown_ = false;
};

}  // namespace limpet::cli

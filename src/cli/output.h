// Where commands write, and what is known about it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace limpet::cli {

struct Output {
  // False when the reader is gone or the disk is full: the command ends.
  std::function<bool(std::string_view)> out;
  std::function<bool(std::string_view)> err;
  size_t width = 80;    // that lines keep within
  bool colour = false;  // on a terminal, unless NO_COLOR is set
  bool out_terminal = false;
  bool err_terminal = false;
};

// Standard output and error of this process.
Output standard_output();

// All bytes, waiting where the descriptor would block; false on an error.
bool write_all(int fd, std::string_view bytes);

enum class Colour { none, green, yellow, red };
// The text in that colour, as far as colours are wanted. No part of a table: it does not count columns.
std::string coloured(const Output& output, Colour colour, std::string_view text);

}  // namespace limpet::cli

// Text for people: tables that fit, sizes and ages in few characters. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace limpet::cli {

// "512 B", "4.2 KiB", "18 MiB": at most three digits.
std::string human_size(int64_t bytes);

// Columns on a screen, counting each code point as one.
size_t columns_of(std::string_view text);

// What comes from a container or a registry must not command the terminal: control characters become '?'.
// Line feeds too.
std::string printable(std::string_view text);

// Rows below a header. When all does not fit into `width`, the widest columns are made narrower; a cell that
// is longer than its column ends its line, and the row goes on in the next, at the next column. Nothing is
// cut.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }
  std::string text(size_t width) const;

 private:
  std::vector<size_t> fit(size_t width) const;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// "name:   text", the text wrapped at spaces and continued under itself.
std::string labelled(std::string_view label, std::string_view text, size_t label_width, size_t width);

}  // namespace limpet::cli

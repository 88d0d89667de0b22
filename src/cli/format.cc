#include "cli/format.h"

#include <algorithm>

#include "base/result.h"

namespace limpet::cli {
namespace {

constexpr size_t gap = 2;
constexpr size_t narrowest = 6;

void pad(std::string& line, size_t to) {
  const size_t have = columns_of(line);
  if (have < to) line.append(to - have, ' ');
}

}  // namespace

std::string human_size(int64_t bytes) {
  if (bytes < 0) return "?";
  if (bytes < 1000) return strf("%d B", static_cast<int>(bytes));
  const char* units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double n = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (n >= 999.5 && unit + 1 < std::size(units)) {
    n /= 1024;
    unit++;
  }
  return strf(n < 9.95 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

size_t columns_of(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    const auto c = static_cast<unsigned char>(text[i]);
    // C1 controls are U+0080 to U+009F: two bytes in UTF-8.
    const bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) i++;
    out += c < 0x20 || c == 0x7f || c1 ? '?' : text[i];
  }
  return out;
}

void Table::add(std::vector<std::string> row) {
  row.resize(header_.size());
  for (std::string& cell : row) cell = cell.empty() ? "-" : printable(cell);
  rows_.push_back(std::move(row));
}

std::vector<size_t> Table::fit(size_t width) const {
  std::vector<size_t> widths;
  size_t total = 0;
  for (size_t i = 0; i < header_.size(); i++) {
    size_t w = columns_of(header_[i]);
    for (const auto& row : rows_) w = std::max(w, columns_of(row[i]));
    widths.push_back(w);
    total += w + (i ? gap : 0);
  }
  while (total > width) {
    const size_t widest =
        static_cast<size_t>(std::max_element(widths.begin(), widths.end()) - widths.begin());
    if (widths[widest] <= std::max(narrowest, columns_of(header_[widest]))) break;
    widths[widest]--;
    total--;
  }
  return widths;
}

std::string Table::text(size_t width) const {
  const std::vector<size_t> widths = fit(width);
  std::string out;
  const auto put = [&](const std::vector<std::string>& row) {
    std::string line;
    size_t column = 0;
    for (size_t i = 0; i < row.size(); i++) {
      const size_t cell = columns_of(row[i]);
      // The cell before was too long, or this one is.
      if (i > 0 && (columns_of(line) + gap > column || column + cell > width)) {
        out.append(line).append("\n");
        line.clear();
      }
      // As far right as it fits.
      pad(line, cell < width ? std::min(column, width - cell) : 0);
      line += row[i];
      column += widths[i] + gap;
    }
    out.append(line).append("\n");
  };
  put(header_);
  for (const auto& row : rows_) put(row);
  return out;
}

std::string labelled(std::string_view label, std::string_view text, size_t label_width, size_t width) {
  std::string out, line = printable(label);
  if (!line.empty() && columns_of(line) >= label_width) line += ' ';
  pad(line, label_width);
  bool fresh = true;
  const std::string clean = printable(text);
  for (size_t at = 0; at < clean.size();) {
    const size_t end = std::min(clean.find(' ', at), clean.size());
    const std::string word = clean.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    if (!fresh && columns_of(line) + 1 + columns_of(word) > width) {
      out.append(line).append("\n");
      line.assign(label_width, ' ');
      fresh = true;
    }
    if (!fresh) line += ' ';
    line += word;
    fresh = false;
  }
  return out.append(line).append("\n");
}

}  // namespace limpet::cli

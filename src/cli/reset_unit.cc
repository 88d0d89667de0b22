#include "cli/reset_unit.h"

#include <algorithm>

#include "cli/options.h"

namespace limpet::cli {
namespace {

// f gets each line; the value of the first that f takes.
template <class F>
std::string_view first_line(std::string_view text, const F& f) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (const std::string_view line = text.substr(0, end); f(line)) return line;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {};
}

std::string_view value_of(std::string_view shown, std::string_view key) {
  const std::string_view line = first_line(shown, [&](std::string_view l) { return l.starts_with(key); });
  return line.substr(std::min(key.size(), line.size()));
}

}  // namespace

std::string service_of_groups(std::string_view groups) {
  const std::string_view line = first_line(groups, [](std::string_view l) {
    return l.find(":name=systemd:") != std::string_view::npos || l.starts_with("0::");
  });
  const size_t slash = line.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? "" : line.substr(slash + 1);
  return name.ends_with(".service") ? std::string(name) : "";
}

bool unit_starts(std::string_view shown, const std::string& config_file) {
  const std::string_view state = value_of(shown, "ActiveState=");
  if (state != "active" && state != "activating" && state != "reloading") return false;
  // ExecStart={ path=... ; argv[]=/usr/bin/limpetd --config FILE ; ignore_errors=no ; ... }
  std::string_view words = value_of(shown, "ExecStart=");
  const size_t begin = words.find("argv[]=");
  if (begin == std::string_view::npos) return false;
  words.remove_prefix(begin);
  words = words.substr(0, words.find(" ;"));
  const size_t option = words.find(" --config");
  if (option == std::string_view::npos) return config_file == Arguments().config;
  std::string_view given = words.substr(option + 9);
  if (!given.empty()) given.remove_prefix(1);  // " " or "="
  return given.substr(0, given.find(' ')) == config_file;
}

}  // namespace limpet::cli

#include "cli/device_config.h"

#include "base/atomic_file.h"

namespace limpet::cli {
namespace {

constexpr size_t max_config = 1 << 20;

}  // namespace

DeviceConfig read_device_config(const Arguments& arguments) {
  DeviceConfig out;
  const auto text = read_file(arguments.config, max_config);
  if (!text && (arguments.config_given || text.error().code != Errc::not_found))
    out.problem = text.error().message;
  daemon::Checked checked = daemon::check_config(text.value_or(""));
  for (const daemon::Problem& p : checked.problems) {
    out.problem += strf("%s%s:%d:%d: %s", out.problem.empty() ? "" : "\n", arguments.config.c_str(), p.line,
                        p.column, p.message.c_str());
  }
  out.config = checked.problems.empty() ? std::move(checked.config) : daemon::check_config("").config;
  out.paths = daemon::derive_paths(out.config);
  return out;
}

}  // namespace limpet::cli

// Clock, disk and wear.
#include <charconv>

#include "cli/doctor/checks.h"
#include "cli/format.h"

namespace limpet::cli::doctor {
namespace {

constexpr int64_t day_s = 86'400;
constexpr int64_t least_free = 64 << 20;  // less is hardly enough for one image layer

int percent(int64_t part, int64_t whole) {
  return static_cast<int>(static_cast<double>(part) / static_cast<double>(whole) * 100);
}

Findings look_at(const Machine& m, const char* what, const std::string& path) {
  const auto space = m.space(path);
  if (!space)
    return {{"disk", Level::warning, "How full the disk at " + path + " is cannot be found out.", ""}};
  if (space->read_only) {
    return {{"disk", Level::problem,
             strf("The file system of %s (%s) is mounted read-only.", what, path.c_str()),
             "A failing disk makes the kernel do so: look at dmesg, save what you need, replace the disk or "
             "run fsck."}};
  }
  if (space->total <= 0) return {};
  const int left = percent(space->free, space->total);
  const std::string text = strf("%s of %s (%d%%) free for %s (%s).", human_size(space->free).c_str(),
                                human_size(space->total).c_str(), left, what, path.c_str());
  const char* remedy =
      "Remove what is not needed: limpet image ls shows images, old logs are under /var/log.";
  if (left < 3 || space->free < least_free) return {{"disk", Level::problem, text, remedy}};
  if (left < 15) return {{"disk", Level::warning, text, remedy}};
  if (space->inodes > 0) {
    const int inodes = percent(space->free_inodes, space->inodes);
    const std::string few = strf("%d%% of the inodes are free for %s (%s): many small files are in the way.",
                                 inodes, what, path.c_str());
    if (inodes < 10) return {{"disk", inodes < 2 ? Level::problem : Level::warning, few, remedy}};
  }
  return {{"disk", Level::ok, text, ""}};
}

std::optional<int> hex_number(std::string_view& text) {
  const size_t at = text.find("0x");
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + 2);
  int n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n, 16);
  if (error != std::errc()) return {};
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return n;
}

}  // namespace

Findings check_clock(const Machine& m) {
  const std::string reads = "The clock reads " + rfc3339(m.clock);
  if (m.clock.seconds < m.built) {
    return {{"clock", Level::problem,
             reads + ", which is before this program was built: it is certainly wrong.",
             "Set it (date -s, or a time server); certificates of registries cannot be judged until then."}};
  }
  if (m.last_write > m.clock.seconds + day_s) {
    return {{"clock", Level::warning,
             reads + ", but the last write of limpetd is dated " + rfc3339({m.last_write, 0}) +
                 ": one of them is wrong.",
             "Check the date; a clock that is ahead for a while does no lasting harm."}};
  }
  if (m.synchronised && !*m.synchronised) {
    return {{"clock", Level::warning, reads + " and follows no time server.",
             "Install one that does (systemd-timesyncd, chrony), where the device has a network."}};
  }
  return {{"clock", Level::ok, reads + (m.synchronised ? " and follows a time server." : "."), ""}};
}

Findings check_disk(const Machine& m) {
  Findings out = look_at(m, "dataDir", m.paths.data_dir);
  for (Finding& f : look_at(m, "logs", m.paths.logs_dir)) out.push_back(std::move(f));
  return out;
}

// JEDEC eMMC 5.0: life_time is two estimates in tenths of the life, pre_eol_info the use of spare blocks.
Findings check_wear(const Machine& m) {
  Findings out;
  for (const std::string& disk : names_in(m, "/sys/block")) {
    if (!disk.starts_with("mmcblk")) continue;
    const std::string life = contents(m, "/sys/block/" + disk + "/device/life_time"),
                      spare = contents(m, "/sys/block/" + disk + "/device/pre_eol_info");
    std::string_view rest = life, spare_rest = spare;
    int tenths = 0;
    while (const auto n = hex_number(rest)) tenths = std::max(tenths, *n);
    const int eol = hex_number(spare_rest).value_or(0);
    if (tenths == 0 && eol == 0) continue;  // an SD card, or one that does not tell
    const std::string text = tenths > 10 ? disk + " has outlived what it was built for."
                             : tenths > 0
                                 ? strf("%s has used up to %d%% of its life.", disk.c_str(), tenths * 10)
                                 : disk + " does not tell how much of its life is used.";
    const std::string spares = eol >= 3   ? " Nearly all its spare blocks are used."
                               : eol == 2 ? " 80% of its spare blocks are used."
                                          : "";
    const Level level = eol >= 3 || tenths > 10   ? Level::problem
                        : eol == 2 || tenths >= 9 ? Level::warning
                                                  : Level::ok;
    out.push_back({"wear", level, text + spares,
                   level == Level::ok ? "" : "Plan its replacement and keep a backup of dataDir."});
  }
  if (out.empty())
    out.push_back({"wear", Level::skipped, "No disk of this device tells how worn it is.", ""});
  return out;
}

}  // namespace limpet::cli::doctor

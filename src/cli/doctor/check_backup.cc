// Scheduled backups: whether their medium is there, and the newest of them, by their names alone.
#include <algorithm>

#include "cli/doctor/checks.h"

namespace limpet::cli::doctor {
namespace {

// The time in "limpet-1a2b3c4d-20261126T171200Z-r1234.backup" (backup/catalog.h); empty: another name.
std::string time_of(std::string_view name) {
  constexpr std::string_view shape = "limpet-xxxxxxxx-00000000T000000Z-r";
  if (name.size() <= shape.size() || !name.starts_with("limpet-") || !name.ends_with(".backup")) return "";
  const std::string_view t = name.substr(16, 16);
  for (size_t i = 0; i < t.size(); i++) {
    const char want = shape[16 + i];
    if (want == '0' ? t[i] < '0' || t[i] > '9' : t[i] != want) return "";
  }
  const std::string s(t);
  return s.substr(0, 4) + "-" + s.substr(4, 2) + "-" + s.substr(6, 5) + ":" + s.substr(11, 2) + ":" +
         s.substr(13, 3);
}

}  // namespace

Findings check_backup(const Machine& m) {
  const daemon::Config::Backup& b = m.config.backup;
  if (b.directory.empty()) return {{"backup", Level::skipped, "No scheduled backups are configured.", ""}};
  if (!exists(m, b.directory)) {
    return {{"backup", Level::warning, "The directory for backups, " + b.directory + ", is not there.",
             "Mount its medium, or make the directory on it."}};
  }
  if (!exists(m, b.recipient_file)) {
    return {{"backup", Level::problem,
             "The public key that backups are sealed for, " + b.recipient_file + ", is not there.",
             "Put it there, or make a pair: limpet backup keygen."}};
  }
  std::string newest;
  for (const std::string& name : names_in(m, b.directory)) newest = std::max(newest, time_of(name));
  if (newest.empty()) {
    return {{"backup", Level::warning, "There is no scheduled backup yet in " + b.directory + ".",
             "limpet status says what is in the way, if anything is."}};
  }
  return {{"backup", Level::ok, "The newest backup in " + b.directory + " is of " + newest + ".", ""}};
}

}  // namespace limpet::cli::doctor

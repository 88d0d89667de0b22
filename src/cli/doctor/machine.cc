// Reading below the root of the machine, and the list of checks.
#include <dirent.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "cli/doctor/checks.h"

namespace limpet::cli::doctor {
namespace {

constexpr size_t max_file = 4 << 20;

}  // namespace

const char* level_name(Level level) {
  constexpr const char* names[] = {"ok", "skipped", "warning", "problem"};
  return names[static_cast<int>(level)];
}

std::string contents(const Machine& m, const std::string& path) {
  return read_file(m.root + path, max_file).value_or("");
}

std::vector<std::string> names_in(const Machine& m, const std::string& path) {
  std::vector<std::string> out;
  if (DIR* d = opendir((m.root + path).c_str())) {
    while (const dirent* entry = readdir(d)) {
      if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
    }
    closedir(d);
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool exists(const Machine& m, const std::string& path) { return access((m.root + path).c_str(), F_OK) == 0; }

std::string find_program(const Machine& m, const std::string& name) {
  if (name.find('/') != std::string::npos) return exists(m, name) ? name : "";
  for (const char* directory :
       {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    if (exists(m, directory + name)) return directory + name;
  }
  return "";
}

Findings examine(Machine& m) {
  Findings out;
  const auto add = [&](Findings more) {
    for (Finding& f : more) out.push_back(std::move(f));
  };
  add(check_daemon(m));
  add(check_store(m));  // before the clock: it learns when the last write was
  for (const auto check : {check_clock, check_disk, check_wear, check_kernel, check_cgroups, check_runtime,
                           check_nft, check_certificates, check_routes, check_registries}) {
    add(check(m));
  }
  return out;
}

}  // namespace limpet::cli::doctor

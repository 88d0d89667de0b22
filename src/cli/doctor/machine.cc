// Reading below the root of the machine, and the list of checks.
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/tree.h"
#include "cli/doctor/apart.h"
#include "cli/doctor/checks.h"

namespace limpet::cli::doctor {
namespace {

constexpr size_t max_file = 4 << 20;

// What a child tells: its findings, and what it learned.
std::string packed(const Machine& m, const Findings& findings) {
  json::Writer w;
  w.begin_object().field("lastWrite", m.last_write).key("findings").begin_array();
  for (const Finding& f : findings) {
    w.begin_object().field("level", static_cast<int>(f.level)).field("text", f.text);
    w.field("remedy", f.remedy).end_object();
  }
  w.end_array().end_object();
  return w.take();
}

Findings check_apart(Machine& m, const char* name, const std::function<Findings(Machine&)>& check) {
  const int64_t patience_ms = std::string_view(name) == "store" ? m.store_patience_ms : m.patience_ms;
  const auto told = apart(patience_ms, [&] { return packed(m, check(m)); });
  const auto value = told ? json::parse(*told) : fail(Errc::timeout, "");
  if (!value) {
    return {{name, Level::problem,
             strf("This check did not answer in %lld s: what it reads, or the disk, hangs.",
                  static_cast<long long>((patience_ms + 999) / 1000)),
             "Look at dmesg for errors of the disk, and save what you need of it."}};
  }
  m.last_write = value->ref()["lastWrite"].integer();
  Findings out;
  for (json::Ref f : value->ref()["findings"]) {
    out.push_back({name, static_cast<Level>(f["level"].integer()), std::string(f["text"].str()),
                   std::string(f["remedy"].str())});
  }
  return out;
}

}  // namespace

const char* level_name(Level level) {
  constexpr const char* names[] = {"ok", "skipped", "warning", "problem"};
  return names[static_cast<int>(level)];
}

std::string contents(const Machine& m, const std::string& path) {
  return read_file(m.root + path, max_file).value_or("");
}

std::vector<std::string> names_in(const Machine& m, const std::string& path) {
  std::vector<std::string> out = list_directory(m.root + path);
  std::erase_if(out, [](const std::string& name) { return name[0] == '.'; });
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

Findings examine(Machine& m, const std::function<void(const Finding&)>& tell) {
  struct Row {
    const char* name;
    std::function<Findings(Machine&)> check;
    bool apart;  // uses neither programs nor the network, but the disk
  };
  const Row rows[] = {
      {"limpetd", check_daemon, false},
      {"store", check_store, true},  // before the clock: it learns when the last write was
      {"clock", check_clock, false},
      {"disk", check_disk, true},
      {"wear", check_wear, true},
      {"backup", check_backup, true},
      {"kernel", check_kernel, true},
      {"cgroups", check_cgroups, true},
      {"runtime", check_runtime, false},
      {"nft", check_nft, false},
      {"certificates", check_certificates, true},
      {"network", check_routes, true},
      {"registries", check_registries, false},
  };
  Findings out;
  for (const Row& row : rows) {
    for (Finding& f : row.apart ? check_apart(m, row.name, row.check) : row.check(m)) {
      if (tell) tell(f);
      out.push_back(std::move(f));
    }
  }
  return out;
}

}  // namespace limpet::cli::doctor

// The programs limpetd needs: an OCI runtime without known escapes, and nft.
#include <charconv>

#include "cli/doctor/checks.h"
#include "cli/format.h"

namespace limpet::cli::doctor {
namespace {

// major, minor, patch, release candidate (a release is above all its candidates).
struct Number {
  int part[4] = {0, 0, 0, 1 << 20};
  auto operator<=>(const Number&) const = default;
};

Number number_of(std::string_view text) {
  Number n;
  for (int i = 0; i < 3; i++) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n.part[i]);
    if (error != std::errc()) return n;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (!text.starts_with('.')) break;
    text.remove_prefix(1);
  }
  // "1.0.0-rc93", "1.0.0~rc93+ds1", "1.4.0-rc.3"
  if (const size_t rc = text.find("rc"); rc != std::string_view::npos && rc <= 1) {
    text.remove_prefix(rc + 2);
    if (text.starts_with('.')) text.remove_prefix(1);
    n.part[3] = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), n.part[3]);
  }
  return n;
}

// Ways out of a container that a pod can go. Left out is what needs a set-up that limpet does not make (krun
// handlers of crun: CVE-2025-24965).
struct Escape {
  const char *program, *name;
  const char* fixed;      // in this version and all above, save what `also` says
  const char* fixed_old;  // also in this and above within its minor version; nullptr: none
};
constexpr Escape escapes[] = {
    {"runc", "CVE-2019-5736", "1.0.0-rc7", nullptr}, {"runc", "CVE-2021-30465", "1.0.0-rc95", nullptr},
    {"runc", "CVE-2024-21626", "1.1.12", nullptr},   {"runc", "CVE-2025-31133", "1.3.3", "1.2.8"},
    {"runc", "CVE-2025-52565", "1.3.3", "1.2.8"},    {"runc", "CVE-2025-52881", "1.3.3", "1.2.8"},
    {"crun", "CVE-2019-18837", "0.10.5", nullptr},
};

// 1.4.0 had release candidates before the fix of 1.3.3 was made.
const Number first_fixed_14 = {{1, 4, 0, 3}};

bool fixed(const Escape& e, const Number& n) {
  if (std::string_view(e.name).starts_with("CVE-2025") && n.part[0] == 1 && n.part[1] == 4)
    return n >= first_fixed_14;
  if (n >= number_of(e.fixed)) return true;
  if (!e.fixed_old) return false;
  const Number old = number_of(e.fixed_old);
  return n.part[0] == old.part[0] && n.part[1] == old.part[1] && n >= old;
}

// What distributions fixed without a new version: package versions that begin so and count on from there.
struct Backport {
  const char *program, *name;
  const char* base;  // all of the package's version but the last number
  int from;
};
constexpr Backport backports[] = {
    {"runc", "CVE-2024-21626", "1.1.5+ds1-1+deb12u", 1},       // DSA-5615, Debian 12
    {"runc", "CVE-2024-21626", "1.0.0~rc93+ds1-5+deb11u", 3},  // DSA-5615, Debian 11
};

bool backported(const Escape& e, std::string_view package) {
  for (const Backport& b : backports) {
    if (b.program != std::string_view(e.program) || b.name != std::string_view(e.name)) continue;
    if (!package.starts_with(b.base)) continue;
    package.remove_prefix(std::string_view(b.base).size());
    int n = 0;
    (void)std::from_chars(package.data(), package.data() + package.size(), n);
    return n >= b.from;
  }
  return false;
}

// "runc version 1.1.5+ds1", "crun version 1.14.1": the third word of the first line.
std::string version_of(std::string_view out, std::string_view program) {
  const std::string start = std::string(program) + " version ";
  if (!out.starts_with(start)) return "";
  out.remove_prefix(start.size());
  return printable(out.substr(0, out.find_first_of(" \n")));
}

// The version of the package when the program is the one of the package.
std::string package_version(const Machine& m, const std::string& name, const std::string& path) {
  const std::string files = contents(m, "/var/lib/dpkg/info/" + name + ".list");
  if (("\n" + files).find("\n" + path + "\n") == std::string::npos) return "";
  const std::string status = contents(m, "/var/lib/dpkg/status");
  const size_t at = ("\n" + status).find("\nPackage: " + name + "\n");
  if (at == std::string::npos) return "";
  const size_t end = std::min(status.find("\n\n", at), status.size());
  const std::string entry = status.substr(at, end - at);
  const size_t version = entry.find("\nVersion: ");
  if (version == std::string::npos) return "";
  return entry.substr(version + 10, entry.find('\n', version + 10) - version - 10);
}

std::vector<std::string> candidates(const daemon::Config& c) {
  if (!c.runtime.path.empty()) return {c.runtime.path};
  if (c.runtime.kind != "auto") return {c.runtime.kind};
  return {"crun", "runc"};
}

}  // namespace

Escapes known_escapes(std::string_view program, std::string_view version, std::string_view package) {
  Escapes out;
  const Number n = number_of(version);
  for (const Escape& e : escapes) {
    if (program != e.program || fixed(e, n)) continue;
    std::string& list = backported(e, package) ? out.backport : out.open;
    list += (list.empty() ? "" : ", ") + std::string(e.name);
  }
  return out;
}

Findings check_runtime(const Machine& m) {
  std::string wanted;
  for (const std::string& candidate : candidates(m.config)) {
    wanted += (wanted.empty() ? "" : " or ") + candidate;
    const std::string path = find_program(m, candidate);
    if (path.empty()) continue;
    const Ran ran = m.run({path, "--version"});
    const std::string name = path.substr(path.rfind('/') + 1);
    std::string version = version_of(ran.out, "runc"), program = "runc";
    if (version.empty()) version = version_of(ran.out, program = "crun");
    if (!ran.ok || version.empty()) {
      return {{"runtime", Level::problem, path + " does not work: " + printable(ran.out.substr(0, 200)) + ".",
               "Install it again: apt-get install --reinstall " + name + "."}};
    }
    const Escapes e = known_escapes(program, version, package_version(m, name, path));
    const std::string what = program + " " + version + " (" + path + ")";
    if (e.open.empty()) {
      return {{"runtime", Level::ok,
               what + " has no known escape" +
                   (e.backport.empty() ? "" : "; the distribution fixed " + e.backport) + ".",
               ""}};
    }
    return {{"runtime", Level::warning,
             what + " may be affected by " + e.open +
                 ", unless your distribution has fixed that without a new version.",
             "Bring it up to date (apt-get install --only-upgrade " + name +
                 "), and run only images that you trust until then."}};
  }
  return {{"runtime", Level::problem, "There is no OCI runtime: " + wanted + " is not installed.",
           "Install one: apt-get install crun (or runc)."}};
}

Findings check_nft(const Machine& m) {
  if (m.config.network.mode == "none")
    return {{"nft", Level::skipped, "There is no pod network (network.mode none).", ""}};
  if (find_program(m, "nft").empty()) {
    return {{"nft", Level::problem, "The program nft is missing: there is no pod network without it.",
             "Install it: apt-get install nftables."}};
  }
  const Ran ran = m.run({"nft", "list", "tables"});
  if (!ran.ok && ran.out.find("Operation not permitted") != std::string::npos) {
    return {{"nft", Level::skipped, "Only root may ask nft.", ""}};
  }
  if (!ran.ok) {
    return {{"nft", Level::problem, "nft does not work: " + printable(ran.out.substr(0, 200)) + ".",
             "Use a kernel with nf_tables, or install the distribution's package of further modules."}};
  }
  if (m.daemon.pid != 0 && m.daemon.not_ready.empty() &&
      ran.out.find("table ip limpet") == std::string::npos) {
    return {{"nft", Level::warning, "The table limpet is not in the kernel's rules.",
             "limpetd puts it back by itself within a minute; if it does not, look at its log."}};
  }
  return {{"nft", Level::ok, "nft works.", ""}};
}

}  // namespace limpet::cli::doctor

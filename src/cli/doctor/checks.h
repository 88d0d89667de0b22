// What `limpet doctor` looks at. Each check is a small function from facts to findings; everything it reads
// of the machine comes from files below Machine::root or from the members of Machine, so that a test can rig
// every finding.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "daemon/config.h"
#include "daemon/paths.h"

namespace limpet::cli::doctor {

enum class Level { ok, skipped, warning, problem };
const char* level_name(Level level);

struct Finding {
  const char* check;  // "disk"
  Level level = Level::ok;
  std::string text;    // one sentence
  std::string remedy;  // one sentence; empty when nothing is to be done
};
using Findings = std::vector<Finding>;

struct Space {
  int64_t total = 0, free = 0;          // bytes; free: for others than root too
  int64_t inodes = 0, free_inodes = 0;  // 0 inodes: the file system has no fixed number
  bool read_only = false;
};

struct Ran {
  bool started = false, ok = false;
  std::string out;  // what it wrote, standard error too
};

struct Daemon {
  int64_t pid = 0;         // who holds dataDir; 0: nobody, or not known
  bool answers = false;    // on its socket
  bool forbidden = false;  // who holds dataDir, or to ask on the socket: this user is not allowed to know
  std::string not_ready;   // what /readyz says against it; empty: ready
};

// A way to a registry: itself, or one of its mirrors.
struct Way {
  std::string where;         // "mirror:5000", "quay.io over the proxy p:3128"
  std::string problem;       // empty: a registry answers there
  bool certificate = false;  // the problem is its certificate
};
using Ways = std::vector<Way>;

struct Machine {
  std::string root;  // before every path; empty on a device
  daemon::Config config;
  daemon::Paths paths;
  WallTime clock;                    // what the machine's clock reads
  int64_t built = 0;                 // seconds since 1970: the date of this program
  int64_t last_write = 0;            // time of the store's last commit; 0: not known
  std::optional<bool> synchronised;  // whether the kernel's clock follows a time server
  std::vector<std::string> addresses;
  Daemon daemon;
  // Of the file system at the path, or at its nearest parent that is there.
  std::function<std::optional<Space>(const std::string& path)> space;
  // A program of the usual path, for at most three seconds.
  std::function<Ran(std::vector<std::string> argv)> run;
  // Who holds dataDir now, as Daemon::pid: it may have changed since.
  std::function<int64_t()> holder;
  int64_t patience_ms = 3000;          // for a check, and for one question within a check
  int64_t store_patience_ms = 60'000;  // for the store, which is copied and read whole
  // All ways to each of these registries, asked for patience_ms at most.
  std::function<std::vector<Ways>(const std::vector<std::string>& registries)> ask_registries;
  std::vector<std::string> registries;      // --registry
  std::vector<std::string> pod_registries;  // of the images of this device's pods
};

// Of a file below root; empty when it is not there or cannot be read.
std::string contents(const Machine& machine, const std::string& path);
// Names in a directory below root, sorted.
std::vector<std::string> names_in(const Machine& machine, const std::string& path);
bool exists(const Machine& machine, const std::string& path);
// The first of the usual directories with such a program, as a path without root; empty: none.
std::string find_program(const Machine& machine, const std::string& name);

// Of the store: dataDir first, where only root may look, then where there is room when its disk is full.
std::vector<std::string> places_for_copy(const std::string& data_dir);
constexpr uint64_t largest_copy = 32 << 20;  // it may lie in memory

// How what limpetd wrote last begins in a finding of check_daemon.
inline constexpr const char* last_words_begin = " Its last words: ";

Findings check_daemon(const Machine& machine);
Findings check_store(Machine& machine);  // finds last_write
Findings check_clock(const Machine& machine);
Findings check_disk(const Machine& machine);
Findings check_wear(const Machine& machine);
Findings check_backup(const Machine& machine);
Findings check_kernel(const Machine& machine);
Findings check_cgroups(const Machine& machine);
Findings check_runtime(const Machine& machine);
Findings check_nft(const Machine& machine);
Findings check_certificates(const Machine& machine);
Findings check_routes(const Machine& machine);
Findings check_registries(const Machine& machine);

// All of them, in the order of the table above; each finding is told when it is made. What a failing disk can
// hold for ever is done apart, and that it did not answer is then the finding.
Findings examine(Machine& machine, const std::function<void(const Finding&)>& tell = {});

// Known escapes of that version: "CVE-2024-21626, ...". package: the version of the distribution's package
// that the program came with, empty when it is not from one.
struct Escapes {
  std::string open;      // not fixed in that version
  std::string backport;  // of these the distribution says that they are fixed
};
Escapes known_escapes(std::string_view program, std::string_view version, std::string_view package);

}  // namespace limpet::cli::doctor

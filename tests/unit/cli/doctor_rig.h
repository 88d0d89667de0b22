// A device for limpet doctor, rigged in a tree of files: in order, until the test changes something.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include "../temp_dir.h"
#include "base/atomic_file.h"
#include "cli/command_doctor.h"

namespace limpet::cli::doctor {

constexpr int64_t now_s = 1767225600;  // 2026-01-01

struct Rig {
  limpet::test::TempDir dir;
  const std::string& root = dir.path;
  Machine m;
  Space space{100LL << 30, 50LL << 30, 1000, 900, false};

  Rig() {
    m.root = root;
    m.config = daemon::check_config("").config;
    m.paths = daemon::derive_paths(m.config);
    m.clock = {now_s, 0};
    m.built = now_s - 1000;
    m.synchronised = true;
    m.addresses = {"127.0.0.1", "192.0.2.7"};
    m.daemon = {77, true, false, ""};
    m.space = [this](const std::string&) { return std::optional(space); };
    m.run = [](std::vector<std::string> argv) {
      return Ran{true, true, argv[0] == "nft" ? "table ip limpet\n" : "crun version 1.14\ncommit: x\n"};
    };
    m.ask_registries = [](const std::vector<std::string>& names) {
      return std::vector<Ways>(names.size(), {{"x", "", false}});
    };
    put("/proc/filesystems", "nodev\toverlay\n");
    put("/proc/sys/kernel/osrelease", "6.1.0-test\n");
    put("/proc/sys/net/ipv4/ip_forward", "1\n");
    put("/sys/class/net/limpet0/x", "");
    for (const char* ns : {"net", "mnt", "pid", "uts", "ipc"}) put(std::string("/proc/self/ns/") + ns, "");
    put("/proc/self/status", "Name:\tx\nSeccomp:\t0\n");
    put("/proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    put("/usr/bin/crun", "");
    put("/usr/sbin/nft", "");
    put("/proc/net/route", "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\n");
    put("/etc/resolv.conf", "# mine\nnameserver 192.0.2.1\n");
  }

  void put(const std::string& path, std::string_view text) {
    const std::string whole = root + path;
    REQUIRE(make_directories(whole.substr(0, whole.rfind('/')), 0755));
    REQUIRE(write_file_atomic(whole, text, 0644));
  }
  void remove(const std::string& path) { unlink((root + path).c_str()); }
};

// "problem: text | remedy" of each finding, one per line.
inline std::string said(const Findings& findings) {
  std::string out;
  for (const Finding& f : findings) {
    out += std::string(out.empty() ? "" : "\n") + level_name(f.level) + ": " + f.text;
    if (!f.remedy.empty()) out += " | " + f.remedy;
    // One sentence each, and never a problem without a remedy.
    CHECK(f.text.ends_with('.'));
    if (f.level == Level::problem) CHECK_FALSE(f.remedy.empty());
  }
  return out;
}

inline bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace limpet::cli::doctor

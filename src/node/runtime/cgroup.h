// The kernel's control groups, v2 where the machine has it, else v1 (a v2 mount beside v1 is not used for
// resources).
//
// Paths are below the root of every hierarchy: "/limpet/pod1234/c1". Blocking, but only against the kernel's
// memory. Sources: Linux admin-guide/cgroup-v1, cgroup-v2; conversion of weights as in the OCI runtimes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/runtime/runtime.h"

namespace limpet::node {

class Cgroups {
 public:
  // From /proc/self/mountinfo. unavailable when there is no hierarchy at all.
  static Result<Cgroups> detect();
  static Result<Cgroups> parse(std::string_view mountinfo);  // pure, for tests

  bool v2() const { return v2_; }
  bool hybrid() const { return hybrid_; }  // v1 with an extra v2 mount, which crun refuses

  // The directories of one group, one per hierarchy, existing or not.
  std::vector<std::string> directories(const std::string& path) const;
  // Files with an `oom_kill` count of the group.
  std::vector<std::string> oom_files(const std::string& path) const;

  // Makes the group everywhere; its limits where they are not 0.
  Result<> create(const std::string& path, const Resources& limits) const;
  // Kills what is in it and below.
  void kill_all(const std::string& path) const;
  // With all groups below. Idempotent; waits up to a second for processes that are just ending.
  Result<> remove(const std::string& path) const;
  Result<Usage> usage(const std::string& path) const;

 private:
  struct Hierarchy {
    std::string mount;
    std::string controllers;  // ",cpu,cpuacct,"
    bool unified = false;
  };
  const Hierarchy* find(std::string_view controller) const;
  bool v2_ = false;
  bool hybrid_ = false;
  std::vector<Hierarchy> hierarchies_;
};

// cpu.shares for a request (1024 is one core, at least 2), and that as a cpu.weight of v2 (1 to 10000).
int64_t cpu_shares(int64_t millis);
int64_t cpu_weight(int64_t shares);
constexpr int64_t cpu_period_us = 100000;
int64_t cpu_quota_us(int64_t millis);

}  // namespace limpet::node

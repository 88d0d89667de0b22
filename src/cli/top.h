// Who uses the device: from two looks at the kernel's counters to percent, and the page of it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/output.h"

namespace limpet::cli {

// The device's counters at one moment.
struct DeviceLook {
  uint64_t cpu_busy = 0, cpu_all = 0;  // ticks over all cores since boot
  int cores = 1;
  int64_t memory_total = 0, memory_available = 0;  // bytes
};
// From the texts of /proc/stat and /proc/meminfo.
DeviceLook read_device(std::string_view stat, std::string_view meminfo);

struct ContainerLook {
  std::string ns, pod, container;
  uint64_t cpu_ns = 0;
  int64_t memory = 0, pids = 0;  // memory: the working set, bytes
};

struct Look {
  int64_t at_ms = 0;
  DeviceLook device;
  int64_t disk_total = 0, disk_free = 0;
  std::vector<ContainerLook> containers;
};

enum class TopOrder { cpu, memory };

struct TopRow {
  ContainerLook now;
  double cpu_percent = 0;  // of one core; of what both looks saw
};
struct TopPage {
  double cpu_percent = 0;  // of all cores together
  Look now;
  std::vector<TopRow> rows;  // the most first
};

TopPage compare(const Look& before, const Look& now, TopOrder order);
std::string top_text(const TopPage& page, size_t width);
std::string top_json(const TopPage& page);

}  // namespace limpet::cli

#include "cli/top.h"

#include <algorithm>
#include <cstdio>

#include "base/json.h"
#include "base/result.h"
#include "cli/format.h"

namespace limpet::cli {
namespace {

int64_t kib_of(std::string_view meminfo, const char* name) {
  const std::string key = std::string(name) + ":";
  const size_t at = meminfo.starts_with(key) ? 0 : meminfo.find("\n" + key);
  if (at == std::string_view::npos) return 0;
  long long n = 0;
  const std::string rest(meminfo.substr(meminfo.find(':', at) + 1, 40));
  return sscanf(rest.c_str(), "%lld", &n) == 1 ? n : 0;
}

std::string percent(double p) { return p < 9.95 ? strf("%.1f%%", p) : strf("%.0f%%", p); }

}  // namespace

DeviceLook read_device(std::string_view stat, std::string_view meminfo) {
  DeviceLook d;
  unsigned long long t[8] = {};  // user nice system idle iowait irq softirq steal
  const std::string first(stat.substr(0, stat.find('\n')));
  sscanf(first.c_str(), "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4],
         &t[5], &t[6], &t[7]);
  for (const unsigned long long n : t) d.cpu_all += n;
  d.cpu_busy = d.cpu_all - t[3] - t[4];
  int cores = 0;
  for (size_t at = stat.find("\ncpu"); at != std::string_view::npos; at = stat.find("\ncpu", at + 1)) cores++;
  d.cores = std::max(cores, 1);
  d.memory_total = kib_of(meminfo, "MemTotal") * 1024;
  d.memory_available = kib_of(meminfo, "MemAvailable") * 1024;
  return d;
}

TopPage compare(const Look& before, const Look& now, TopOrder order) {
  TopPage page;
  page.now = now;
  const uint64_t all = now.device.cpu_all - before.device.cpu_all;
  if (now.device.cpu_all > before.device.cpu_all && now.device.cpu_busy >= before.device.cpu_busy) {
    page.cpu_percent =
        static_cast<double>(now.device.cpu_busy - before.device.cpu_busy) / static_cast<double>(all) * 100;
  }
  const double passed_ns = static_cast<double>(std::max<int64_t>(now.at_ms - before.at_ms, 1)) * 1e6;
  for (const ContainerLook& c : now.containers) {
    TopRow row{c, 0};
    for (const ContainerLook& b : before.containers) {
      // One that was restarted in between counts from 0 again.
      if (b.ns != c.ns || b.pod != c.pod || b.container != c.container || b.cpu_ns > c.cpu_ns) continue;
      row.cpu_percent = static_cast<double>(c.cpu_ns - b.cpu_ns) / passed_ns * 100;
    }
    page.rows.push_back(std::move(row));
  }
  std::stable_sort(page.rows.begin(), page.rows.end(), [order](const TopRow& a, const TopRow& b) {
    if (order == TopOrder::cpu && a.cpu_percent != b.cpu_percent) return a.cpu_percent > b.cpu_percent;
    return a.now.memory > b.now.memory;
  });
  return page;
}

std::string top_text(const TopPage& page, size_t width) {
  const DeviceLook& d = page.now.device;
  std::string text = strf("cpu %s of %d core%s, memory %s of %s", percent(page.cpu_percent).c_str(), d.cores,
                          d.cores == 1 ? "" : "s", human_size(d.memory_total - d.memory_available).c_str(),
                          human_size(d.memory_total).c_str());
  if (page.now.disk_total > 0) {
    text += strf(", disk %s of %s", human_size(page.now.disk_total - page.now.disk_free).c_str(),
                 human_size(page.now.disk_total).c_str());
  }
  std::string out = labelled("device:", text, 9, width);
  if (page.rows.empty()) return out + "no container runs\n";
  Table table({"NAMESPACE", "POD", "CONTAINER", "CPU", "MEMORY", "PIDS"});
  for (const TopRow& r : page.rows) {
    table.add({r.now.ns, r.now.pod, r.now.container, percent(r.cpu_percent), human_size(r.now.memory),
               std::to_string(r.now.pids)});
  }
  return out + table.text(width);
}

std::string top_json(const TopPage& page) {
  const DeviceLook& d = page.now.device;
  json::Writer w;
  w.begin_object().key("device").begin_object();
  w.key("cpuPercent").real(page.cpu_percent).field("cores", d.cores);
  w.field("memoryBytes", d.memory_total - d.memory_available).field("memoryTotalBytes", d.memory_total);
  w.field("diskBytes", page.now.disk_total - page.now.disk_free).field("diskTotalBytes", page.now.disk_total);
  w.end_object().key("containers").begin_array();
  for (const TopRow& r : page.rows) {
    w.begin_object().field("namespace", r.now.ns).field("pod", r.now.pod).field("container", r.now.container);
    w.key("cpuPercent")
        .real(r.cpu_percent)
        .field("memoryBytes", r.now.memory)
        .field("pids", r.now.pids)
        .end_object();
  }
  w.end_array().end_object();
  return w.take() + "\n";
}

}  // namespace limpet::cli

#include "cli/top.h"

#include <doctest/doctest.h>

#include "base/json.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

constexpr const char* meminfo = "MemTotal:        1024 kB\nMemFree:   1 kB\nMemAvailable:    256 kB\n";

Look look(int64_t ms, uint64_t busy, uint64_t all) {
  Look l;
  l.at_ms = ms;
  l.device = {busy, all, 2, 1 << 20, 1 << 18};
  return l;
}

}  // namespace

TEST_CASE("top: the device's counters") {
  const DeviceLook d =
      read_device("cpu  10 1 5 80 4 0 0 0 7 7\ncpu0 5 1 2 40 2\ncpu1 5 0 3 40 2\nintr 1\n", meminfo);
  CHECK_EQ(d.cpu_all, 100);
  CHECK_EQ(d.cpu_busy, 16);  // without idle and waiting for disks; guests are in user already
  CHECK_EQ(d.cores, 2);
  CHECK_EQ(d.memory_total, 1 << 20);
  CHECK_EQ(d.memory_available, 1 << 18);
  const DeviceLook none = read_device("", "");
  CHECK_EQ(none.cores, 1);
  CHECK_EQ(none.memory_total, 0);
}

TEST_CASE("top: percent between two looks, the most first") {
  Look before = look(1000, 100, 1000), now = look(2000, 150, 1200);
  before.containers = {{"d", "a", "x", 1'000'000'000, 1, 1}, {"d", "b", "x", 5'000'000'000, 1, 1}};
  now.containers = {{"d", "a", "x", 1'100'000'000, 900, 1},
                    {"d", "b", "x", 1'000'000, 50, 3},  // restarted in between
                    {"d", "new", "x", 7'000'000'000, 2000, 2}};
  const TopPage page = compare(before, now, TopOrder::cpu);
  CHECK_EQ(page.cpu_percent, doctest::Approx(25));
  REQUIRE_EQ(page.rows.size(), 3);
  CHECK_EQ(page.rows[0].now.pod, "a");
  CHECK_EQ(page.rows[0].cpu_percent, doctest::Approx(10));
  CHECK_EQ(page.rows[1].now.pod, "new");
  CHECK_EQ(page.rows[2].cpu_percent, 0);
  CHECK_EQ(compare(before, now, TopOrder::memory).rows[0].now.pod, "new");
  CHECK_EQ(compare(now, before, TopOrder::cpu).cpu_percent, 0);  // counters do not run back
  now.disk_total = 2000;
  now.disk_free = 500;
  CHECK_EQ(top_text(compare(before, now, TopOrder::cpu), 80),
           "device:  cpu 25% of 2 cores, memory 768 KiB of 1.0 MiB, disk 1.5 KiB of 2.0 KiB\n"
           "NAMESPACE  POD  CONTAINER  CPU   MEMORY   PIDS\n"
           "d          a    x          10%   900 B    1\n"
           "d          new  x          0.0%  2.0 KiB  2\n"
           "d          b    x          0.0%  50 B     3\n");
  const auto parsed = json::parse(top_json(compare(before, now, TopOrder::cpu)));
  REQUIRE(parsed);
  CHECK_EQ(parsed->ref()["device"]["memoryBytes"].integer(), 786432);
  CHECK_EQ(parsed->ref()["containers"].at(0)["cpuPercent"].real(), doctest::Approx(10));
  CHECK(top_text(compare(look(1, 1, 1), look(2, 1, 1), TopOrder::cpu), 80).ends_with("no container runs\n"));
}

#include "base/clock.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/random.h"

using namespace limpet;

TEST_CASE("RFC 3339 is written and read") {
  struct Row {
    int64_t seconds;
    int32_t nanos;
    const char *plain, *micro, *nano;
  };
  const Row rows[] = {
      {0, 0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000000000Z"},
      {1767225600, 123456789, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z",
       "2026-01-01T00:00:00.123456789Z"},
      {951782400, 1, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z", "2000-02-29T00:00:00.000000001Z"},
      {4107542399, 999999999, "2100-02-28T23:59:59Z", "2100-02-28T23:59:59.999999Z",
       "2100-02-28T23:59:59.999999999Z"},
      {-1, 0, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000000Z", "1969-12-31T23:59:59.000000000Z"},
      {253402300799, 0, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z",
       "9999-12-31T23:59:59.000000000Z"},
      {-62135596800, 0, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z",
       "0001-01-01T00:00:00.000000000Z"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.plain));
    const WallTime t{row.seconds, row.nanos};
    CHECK_EQ(rfc3339(t), row.plain);
    CHECK_EQ(rfc3339_micro(t), row.micro);
    CHECK_EQ(rfc3339_nano(t), row.nano);
    CHECK((parse_rfc3339(row.nano).value() == t));
    CHECK((parse_rfc3339(row.plain).value() == WallTime{row.seconds, 0}));
  }
}

TEST_CASE("every day of four centuries comes back") {
  for (int64_t day = -135140; day < 47847; day++) {  // 1600-01-01 to 2100-12-31
    const WallTime t{day * 86400 + 86399, 0};
    const auto back = parse_rfc3339(rfc3339(t));
    REQUIRE(back.has_value());
    REQUIRE((*back == t));
  }
}

TEST_CASE("other forms of the same moment, and texts that are none") {
  struct Row {
    const char* text;
    int64_t seconds;
    int32_t nanos;  // -1: refused
  };
  const Row rows[] = {
      {"2026-01-01T01:00:00+01:00", 1767225600, 0},
      {"2025-12-31T18:30:00-05:30", 1767225600, 0},
      {"2026-01-01t00:00:00z", 1767225600, 0},
      {"2026-01-01T00:00:00-00:00", 1767225600, 0},
      {"2026-01-01T00:00:00.5Z", 1767225600, 500000000},
      {"2026-01-01T00:00:00.000000001+00:00", 1767225600, 1},
      {"", 0, -1},
      {"2026-01-01", 0, -1},
      {"2026-01-01T00:00:00", 0, -1},
      {"2026-01-01 00:00:00Z", 0, -1},
      {"2026-13-01T00:00:00Z", 0, -1},
      {"2026-00-01T00:00:00Z", 0, -1},
      {"2026-02-29T00:00:00Z", 0, -1},
      {"2100-02-29T00:00:00Z", 0, -1},
      {"2026-04-31T00:00:00Z", 0, -1},
      {"2026-01-00T00:00:00Z", 0, -1},
      {"2026-01-01T24:00:00Z", 0, -1},
      {"2026-01-01T00:60:00Z", 0, -1},
      {"2026-01-01T00:00:60Z", 0, -1},
      {"2026-01-01T00:00:00.Z", 0, -1},
      {"2026-01-01T00:00:00.1234567890Z", 0, -1},
      {"2026-01-01T00:00:00+24:00", 0, -1},
      {"2026-01-01T00:00:00+0100", 0, -1},
      {"2026-01-01T00:00:00Zx", 0, -1},
      {"20260101T000000Z", 0, -1},
      {"+026-01-01T00:00:00Z", 0, -1},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    const auto t = parse_rfc3339(row.text);
    REQUIRE_EQ(t.has_value(), row.nanos >= 0);
    if (t) CHECK((*t == WallTime{row.seconds, row.nanos}));
  }
}

TEST_CASE("clocks") {
  ManualClock manual;
  manual.set_wall({10, 999'000'000});
  manual.advance_ms(1001);
  CHECK_EQ(manual.monotonic_ms(), 1001);
  CHECK((manual.wall() == WallTime{12, 0}));

  CHECK_GT(SystemClock::build_time(), 1767225600 - 86400 * 365);
  SystemClock system(0);
  const int64_t before = system.monotonic_ms();
  CHECK_GE(system.monotonic_ms(), before);
  const WallTime first = system.wall();
  CHECK_GE(system.wall(), first);
  // What was written a moment ago is not doubted; what was written in years to come is.
  system.remember(first.seconds + 100);
  CHECK_GE(system.wall().seconds, first.seconds + 100);
  system.remember(first.seconds + 20 * 31'536'000);
  CHECK_LT(system.wall().seconds, first.seconds + 31'536'000);
  // Before the build nothing is believed, and time goes on all the same.
  SystemClock early(first.seconds + 1'000'000);
  const WallTime at_first = early.wall();
  CHECK_GE(at_first.seconds, first.seconds + 1'000'000);
  while (early.wall() == at_first) {
  }
  CHECK_GT(early.wall(), at_first);
}

namespace {

constexpr int64_t hour = 3600, day = 24 * hour, year = 365 * day;
constexpr int64_t build = 1'780'000'000;  // 2026-05-28
constexpr int64_t right = build + 100 * day;

struct Step {
  int64_t at;        // monotonic seconds
  int64_t machine;   // what its clock reads; -1: none, remember() is called instead
  int64_t believed;  // or what is remembered
};

}  // namespace

TEST_CASE("what time it is, in every order of jumps") {
  struct Row {
    const char* name;
    std::vector<Step> steps;
  };
  const int64_t none = -1;
  const Row rows[] = {
      {"a clock that is right",
       {{0, right, right}, {10, right + 10, right + 10}, {9'999, right + 9'999, right + 9'999}}},
      {"no battery, first start: it is later than the build, and time goes on",
       {{0, 0, build}, {5, 5, build + 5}, {3605, 3605, build + 3605}}},
      {"then the network tells the time", {{0, 0, build}, {60, right, right}, {61, right + 1, right + 1}}},
      {"no battery, later start: on from the last write",
       {{0, 0, build}, {1, none, right}, {2, 2, right + 1}, {100, 100, right + 99}}},
      {"written by a clock that was 20 years ahead, now right",
       {{0, right, right},
        {1, none, right + 20 * year},
        {2, right + 2, right + 2},
        {9, right + 9, right + 9}}},
      {"the same, and no battery: nothing contradicts it until the network does",
       {{0, 0, build}, {0, none, right + 20 * year}, {5, 5, right + 20 * year + 5}, {60, right, right}}},
      {"a jump ahead is followed, also a wrong one, and so is its correction",
       {{0, right, right}, {1, right + 400 * day, right + 400 * day}, {9, right + 9, right + 9}}},
      {"forward, 1970, back, forward",
       {{0, right, right},
        {10, right + 10 * year, right + 10 * year},
        {20, 0, right + 10 * year + 10},
        {30, right + 30, right + 30},
        {40, 10, right + 40},
        {50, right + 2 * day, right + 2 * day}}},
      {"an hour lost at a power cut: not back, but half as fast until the clock has caught up",
       {{0, right, right},
        {0, none, right + hour},
        {0, right, right + hour},
        {600, right + 600, right + hour + 300},
        {2 * hour, right + 2 * hour, right + 2 * hour},
        {3 * hour, right + 3 * hour, right + 3 * hour}}},
      {"a step back of a minute while running",
       {{0, right, right}, {100, right + 40, right + 50}, {220, right + 160, right + 160}}},
      {"a day behind is slewed, more is a correction",
       {{0, right, right},
        {0, right - day, right},
        {10, right - day + 10, right + 5},
        {20, right - 2 * day, right - 2 * day}}},
      {"an older record changes nothing",
       {{0, right, right}, {1, none, right - year}, {2, right + 2, right + 2}}},
      {"monotonic time that does not move, or a record beyond all sense",
       {{0, 0, build}, {0, 0, build}, {0, none, INT64_MAX / 2}, {0, right, right}}},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.name));
    TimeKeeper keeper(build, 0);
    for (const Step& step : row.steps) {
      CAPTURE(step.at);
      const int64_t monotonic_ns = step.at * 1'000'000'000;
      if (step.machine == none) {
        keeper.remember(step.believed, monotonic_ns);
      } else {
        CHECK_EQ(keeper.now({step.machine, 0}, monotonic_ns).seconds, step.believed);
      }
    }
  }
}

TEST_CASE("time does not go back within a run, but where the clock is set right by more than a day") {
  SeededRandom random(7);
  for (int run = 0; run < 200; run++) {
    TimeKeeper keeper(build, 0);
    int64_t monotonic = 0, offset = right;
    WallTime last{0, 0};
    for (int i = 0; i < 200; i++) {
      const int64_t since = static_cast<int64_t>(random.below(2 * hour));
      monotonic += since;
      // Small steps both ways, and now and then a clock that has lost everything.
      if (random.below(3) == 0) offset += static_cast<int64_t>(random.below(2 * hour)) - hour;
      const int64_t machine = random.below(10) == 0 ? monotonic : offset + monotonic;
      const WallTime t = keeper.now({machine, 0}, monotonic * 1'000'000'000);
      REQUIRE_GE(t, last);
      if (i > 0 && since > 1) REQUIRE_GT(t, last);  // nor does it stand
      last = t;
    }
  }
}

TEST_CASE("dates beyond 2038 and 2100 are numbers of 64 bits") {
  CHECK_EQ(unix_seconds(1970, 1, 1, 0, 0, 0), 0);
  CHECK_EQ(unix_seconds(2038, 1, 19, 3, 14, 8), int64_t{1} << 31);
  CHECK_EQ(unix_seconds(2100, 3, 1, 0, 0, 0), 4107542400);
  CHECK_EQ(unix_seconds(9999, 12, 31, 23, 59, 59), 253402300799);
}

#include "base/clock.h"

#include <doctest/doctest.h>

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
  // A floor in the far future holds; it never goes down.
  system.raise_floor(32503680000);
  CHECK((system.wall() == WallTime{32503680000, 0}));
  system.raise_floor(5);
  CHECK((system.wall() == WallTime{32503680000, 0}));
}

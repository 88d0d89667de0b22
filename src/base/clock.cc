#include "base/clock.h"

#include <algorithm>
#include <ctime>

#include "base/build_time.h"

namespace limpet {

namespace {

constexpr int64_t kDay = 86400;

// Days since 1970-01-01 of a proleptic Gregorian date, and back (the well-known era arithmetic).
int64_t days_from_civil(int64_t y, int m, int d) {
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t yoe = y - era * 400;
  const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  const int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + doe - 719468;
}

struct Civil {
  int64_t year;
  int month, day, hour, minute, second;
};

Civil civil_from_seconds(int64_t t) {
  int64_t days = t / kDay;
  int64_t rest = t % kDay;
  if (rest < 0) {
    rest += kDay;
    days--;
  }
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const int64_t doe = days - era * 146097;
  const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const int64_t mp = (5 * doy + 2) / 153;
  const int month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  return {yoe + era * 400 + (month <= 2),
          month,
          static_cast<int>(doy - (153 * mp + 2) / 5 + 1),
          static_cast<int>(rest / 3600),
          static_cast<int>(rest / 60 % 60),
          static_cast<int>(rest % 60)};
}

std::string date_time(WallTime t) {
  const Civil c = civil_from_seconds(t.seconds);
  return strf("%04lld-%02d-%02dT%02d:%02d:%02d", static_cast<long long>(c.year), c.month, c.day, c.hour,
              c.minute, c.second);
}

// Reads exactly n digits at *pos.
bool digits(std::string_view s, size_t* pos, int n, int* out) {
  int v = 0;
  for (int i = 0; i < n; i++, (*pos)++) {
    if (*pos >= s.size() || s[*pos] < '0' || s[*pos] > '9') return false;
    v = v * 10 + (s[*pos] - '0');
  }
  *out = v;
  return true;
}

bool literal(std::string_view s, size_t* pos, char c) {
  if (*pos >= s.size() || s[*pos] != c) return false;
  (*pos)++;
  return true;
}

int days_in_month(int y, int m) {
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
  return kDays[m - 1] + (m == 2 && leap ? 1 : 0);
}

bool parse_fraction(std::string_view s, size_t* pos, int32_t* nanos) {
  *nanos = 0;
  if (*pos >= s.size() || s[*pos] != '.') return true;
  (*pos)++;
  int n = 0;
  int32_t scale = 100000000;
  for (; *pos < s.size() && s[*pos] >= '0' && s[*pos] <= '9'; (*pos)++, n++) {
    if (n >= 9) return false;
    *nanos += (s[*pos] - '0') * scale;
    scale /= 10;
  }
  return n > 0;
}

bool parse_offset(std::string_view s, size_t* pos, int64_t* offset) {
  *offset = 0;
  if (literal(s, pos, 'Z') || literal(s, pos, 'z')) return true;
  if (*pos >= s.size() || (s[*pos] != '+' && s[*pos] != '-')) return false;
  const int sign = s[(*pos)++] == '-' ? -1 : 1;
  int h = 0, m = 0;
  if (!digits(s, pos, 2, &h) || !literal(s, pos, ':') || !digits(s, pos, 2, &m) || h > 23 || m > 59)
    return false;
  *offset = sign * (h * 3600 + m * 60);
  return true;
}

}  // namespace

namespace {

constexpr int64_t kSecond = 1'000'000'000;
// Nanoseconds of 64 bits reach to 2262; the kernel takes no time after 2232.
constexpr int64_t kLatest = 9'000'000'000;

int64_t nanos_of(int64_t seconds) { return std::clamp<int64_t>(seconds, 0, kLatest) * kSecond; }

int64_t boot_time_ns() {
  timespec ts{};
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

}  // namespace

TimeKeeper::TimeKeeper(int64_t earliest_seconds, int64_t monotonic_ns)
    : earliest_s_(earliest_seconds), believed_ns_(nanos_of(earliest_seconds)), at_ns_(monotonic_ns) {}

int64_t TimeKeeper::passed(int64_t monotonic_ns) {
  const int64_t since = std::max<int64_t>(monotonic_ns - at_ns_, 0);
  at_ns_ += since;
  return since;
}

WallTime TimeKeeper::now(WallTime machine, int64_t monotonic_ns) {
  const int64_t since = passed(monotonic_ns);
  const int64_t reads = nanos_of(machine.seconds) + machine.nanos;
  const int64_t behind = believed_ns_ + since - reads;
  if (machine.seconds < earliest_s_) {
    believed_ns_ += since;
  } else if (behind <= 0 || behind > correction_seconds * kSecond) {
    believed_ns_ = reads;
  } else {
    believed_ns_ = std::max(reads, believed_ns_ + since / 2);
  }
  return {believed_ns_ / kSecond, static_cast<int32_t>(believed_ns_ % kSecond)};
}

void TimeKeeper::remember(int64_t seconds, int64_t monotonic_ns) {
  believed_ns_ = std::max(believed_ns_ + passed(monotonic_ns), nanos_of(seconds));
}

SystemClock::SystemClock(int64_t earliest_seconds) : keeper_(earliest_seconds, boot_time_ns()) {}

int64_t SystemClock::monotonic_ms() { return boot_time_ns() / 1'000'000; }

WallTime SystemClock::machine() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return {ts.tv_sec, static_cast<int32_t>(ts.tv_nsec)};
}

WallTime SystemClock::wall() {
  const WallTime reads = machine();  // first: read late, monotonic time makes us believe rather less
  return keeper_.now(reads, boot_time_ns());
}

void SystemClock::remember(int64_t seconds) { keeper_.remember(seconds, boot_time_ns()); }

int64_t SystemClock::build_time() { return LIMPET_BUILD_TIME; }

void ManualClock::advance_ms(int64_t ms) {
  now_ms_ += ms;
  const int64_t nanos = wall_.nanos + ms % 1000 * 1000000;
  wall_.seconds += ms / 1000 + nanos / 1000000000;
  wall_.nanos = static_cast<int32_t>(nanos % 1000000000);
}

int64_t unix_seconds(int64_t year, int month, int day, int hour, int minute, int second) {
  return days_from_civil(year, month, day) * kDay + hour * 3600 + minute * 60 + second;
}

std::string rfc3339(WallTime t) { return date_time(t) + "Z"; }
std::string rfc3339_micro(WallTime t) { return date_time(t) + strf(".%06dZ", t.nanos / 1000); }
std::string rfc3339_nano(WallTime t) { return date_time(t) + strf(".%09dZ", t.nanos); }

Result<WallTime> parse_rfc3339(std::string_view s) {
  size_t p = 0;
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, sec = 0;
  int32_t nanos = 0;
  int64_t offset = 0;
  const bool shape =
      digits(s, &p, 4, &y) && literal(s, &p, '-') && digits(s, &p, 2, &mo) && literal(s, &p, '-') &&
      digits(s, &p, 2, &d) && (literal(s, &p, 'T') || literal(s, &p, 't')) && digits(s, &p, 2, &h) &&
      literal(s, &p, ':') && digits(s, &p, 2, &mi) && literal(s, &p, ':') && digits(s, &p, 2, &sec) &&
      parse_fraction(s, &p, &nanos) && parse_offset(s, &p, &offset) && p == s.size();
  if (!shape || mo < 1 || mo > 12 || d < 1 || d > days_in_month(y, mo) || h > 23 || mi > 59 || sec > 59) {
    return fail(Errc::invalid_argument, strf("\"%.*s\" is not an RFC 3339 time",
                                             static_cast<int>(s.size() > 64 ? 64 : s.size()), s.data()));
  }
  return WallTime{unix_seconds(y, mo, d, h, mi, sec) - offset, nanos};
}

}  // namespace limpet

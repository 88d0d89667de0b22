#include "schema/quantity.h"

#include <algorithm>
#include <cstdlib>

namespace limpet::schema {

namespace {

constexpr Int128 kNano = 1000000000;
// 5e28 units: the sum of two values still fits.
constexpr Int128 kLimit = Int128(50) * 1000000000 * 1000000000 * 1000000000 * kNano;

constexpr const char* kFormatError =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
constexpr const char* kNumberError = "unable to parse numeric part of quantity";
constexpr const char* kSuffixError = "unable to parse quantity's suffix";

struct Suffix {
  std::string_view text;
  int exponent;
};
constexpr Suffix kDecimal[] = {{"n", -9}, {"u", -6}, {"m", -3}, {"", 0},   {"k", 3},
                               {"M", 6},  {"G", 9},  {"T", 12}, {"P", 15}, {"E", 18}};
constexpr Suffix kBinary[] = {{"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}, {"Pi", 50}, {"Ei", 60}};

// The pieces of a quantity's text: digits before and after the point, and the suffix.
struct Parts {
  bool negative = false;
  std::string_view whole, fraction, suffix;
};

bool digit(char c) { return c >= '0' && c <= '9'; }

Result<Parts> split(std::string_view text) {
  Parts p;
  size_t i = 0;
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) p.negative = text[i++] == '-';
  size_t start = i;
  while (i < text.size() && digit(text[i])) i++;
  p.whole = text.substr(start, i - start);
  if (i < text.size() && text[i] == '.') {
    start = ++i;
    while (i < text.size() && digit(text[i])) i++;
    p.fraction = text.substr(start, i - start);
  }
  if (p.whole.empty() && p.fraction.empty()) return fail(Errc::invalid_argument, kFormatError);
  while (!p.whole.empty() && p.whole.front() == '0') p.whole.remove_prefix(1);
  p.suffix = text.substr(i);
  while (i < text.size() && std::string_view("eEinumkKMGTP").find(text[i]) != std::string_view::npos) i++;
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) i++;
  while (i < text.size() && digit(text[i])) i++;
  if (i != text.size()) return fail(Errc::invalid_argument, kFormatError);
  return p;
}

struct Scale {
  Quantity::Format format;
  int exponent;  // of ten, or of two for binary_si
};

Result<Scale> interpret(std::string_view suffix) {
  for (const Suffix& s : kDecimal)
    if (s.text == suffix) return Scale{Quantity::Format::decimal_si, s.exponent};
  for (const Suffix& s : kBinary)
    if (s.text == suffix) return Scale{Quantity::Format::binary_si, s.exponent};
  if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) {
    return fail(Errc::invalid_argument, kSuffixError);
  }
  size_t i = 1;
  const bool negative = suffix[i] == '-';
  if (suffix[i] == '-' || suffix[i] == '+') i++;
  if (i == suffix.size()) return fail(Errc::invalid_argument, kSuffixError);
  int exponent = 0;
  for (; i < suffix.size(); i++) {
    if (!digit(suffix[i])) return fail(Errc::invalid_argument, kSuffixError);
    exponent = std::min(exponent * 10 + (suffix[i] - '0'), 100000);
  }
  return Scale{Quantity::Format::decimal_exponent, negative ? -exponent : exponent};
}

// The value of WHOLE.FRACTION x 10^exponent x multiplier in billionths, rounded up. Digits that the result
// cannot hold are an error; digits below a billionth only round.
Result<Int128> to_nanos(const Parts& p, int exponent, Int128 multiplier) {
  Int128 value = 0;
  // Position of the decimal point, counted in digits from the start, once the value is in billionths.
  int64_t point = static_cast<int64_t>(p.whole.size()) + exponent + 9;
  const auto digits = static_cast<int64_t>(p.whole.size() + p.fraction.size());
  auto at = [&](int64_t i) -> int {
    const auto k = static_cast<size_t>(i);
    return (k < p.whole.size() ? p.whole[k] : p.fraction[k - p.whole.size()]) - '0';
  };
  bool rest = false;
  for (int64_t i = 0; i < digits && !rest; i++) {
    if (i < point) {
      if (value > kLimit / 10) return fail(Errc::invalid_argument, kNumberError);
      value = value * 10 + at(i);
      if (value >= kLimit) return fail(Errc::invalid_argument, kNumberError);
    } else {
      rest = at(i) != 0;
    }
  }
  for (int64_t i = digits; i < point && value != 0; i++) {
    if (value > kLimit / 10) return fail(Errc::invalid_argument, kNumberError);
    value *= 10;
    if (value >= kLimit) return fail(Errc::invalid_argument, kNumberError);
  }
  if (multiplier == 1) return value + (rest ? 1 : 0);
  // Binary suffixes: the part below a billionth counts once multiplied. Cap as upstream does.
  const Int128 cap = Int128(INT64_MAX) * kNano;
  if (value > cap / multiplier) return cap;
  Int128 below = 0, unit = kNano * kNano;
  for (int64_t i = std::max<int64_t>(point, 0); i < digits && unit > 1; i++) {
    unit /= 10;
    if (i >= point) below += unit * at(i);
  }
  const Int128 scaled = below * multiplier;
  const Int128 carry = (scaled + kNano * kNano - 1) / (kNano * kNano);
  return std::min(value * multiplier + carry, cap);
}

std::string decimal(Int128 v) {
  const bool negative = v < 0;
  if (negative) v = -v;
  std::string out;
  do out.push_back(static_cast<char>('0' + static_cast<int>(v % 10)));
  while ((v /= 10) != 0);
  if (negative) out.push_back('-');
  std::reverse(out.begin(), out.end());
  return out;
}

int64_t divide_up(Int128 nanos, Int128 by) {
  Int128 q = nanos / by;
  if (q * by != nanos) q += nanos < 0 ? -1 : 1;
  return static_cast<int64_t>(std::clamp<Int128>(q, INT64_MIN, INT64_MAX));
}

Int128 saturate(Int128 v) { return std::clamp(v, -kLimit, kLimit); }

}  // namespace

Result<Quantity> Quantity::parse(std::string_view text) {
  TRY(Parts parts, split(text));
  TRY(Scale scale, interpret(parts.suffix));
  const bool binary = scale.format == Format::binary_si;
  TRY(Int128 nanos, to_nanos(parts, binary ? 0 : scale.exponent, binary ? Int128(1) << scale.exponent : 1));
  Quantity q;
  q.format_ = scale.format;
  if (binary && nanos > 0 && nanos < kNano) q.format_ = Format::decimal_si;
  q.nanos_ = parts.negative ? -nanos : nanos;
  return q;
}

Quantity Quantity::parse_or_zero(std::string_view text) {
  auto q = parse(text);
  return q ? *q : Quantity();
}

Quantity Quantity::of(int64_t value, Format format) {
  Quantity q;
  q.nanos_ = Int128(value) * kNano;
  q.format_ = format;
  return q;
}

Quantity Quantity::of_milli(int64_t value, Format format) {
  Quantity q;
  q.nanos_ = Int128(value) * 1000000;
  q.format_ = format;
  return q;
}

bool Quantity::is_integer() const { return nanos_ % kNano == 0; }
int64_t Quantity::value() const { return divide_up(nanos_, kNano); }
int64_t Quantity::milli_value() const { return divide_up(nanos_, 1000000); }

Quantity& Quantity::add(const Quantity& other) {
  if (nanos_ == 0) format_ = other.format_;
  nanos_ = saturate(nanos_ + other.nanos_);
  return *this;
}

Quantity& Quantity::sub(const Quantity& other) {
  if (nanos_ == 0) format_ = other.format_;
  nanos_ = saturate(nanos_ - other.nanos_);
  return *this;
}

std::string Quantity::str() const {
  if (nanos_ == 0) return "0";
  const Int128 magnitude = nanos_ < 0 ? -nanos_ : nanos_;
  if (format_ == Format::binary_si && magnitude >= 1024 * kNano && magnitude % kNano == 0) {
    Int128 units = nanos_ / kNano;
    size_t step = 0;  // of 2^10
    while (units % 1024 == 0 && step < std::size(kBinary)) {
      units /= 1024;
      step++;
    }
    std::string out = decimal(units);
    if (step > 0) out.append(kBinary[step - 1].text);
    return out;
  }
  Int128 mantissa = nanos_;
  int exponent = -9;
  const int most = format_ == Format::decimal_exponent ? 99 : 18;
  while (mantissa % 1000 == 0 && exponent < most) {
    mantissa /= 1000;
    exponent += 3;
  }
  std::string out = decimal(mantissa);
  if (format_ == Format::decimal_exponent) {
    if (exponent != 0) out += "e" + std::to_string(exponent);
    return out;
  }
  for (const Suffix& s : kDecimal)
    if (s.exponent == exponent) out.append(s.text);
  return out;
}

Result<std::string> canonical_quantity(std::string_view text) {
  TRY(Quantity q, Quantity::parse(text));
  TRY(Parts p, split(text));
  TRY(Scale scale, interpret(p.suffix));
  // Upstream's fast path: at most 18 digits, nothing below a billionth, exponent a multiple of three, no
  // needless zeros. Such text is stored as it came.
  const size_t whole = std::max<size_t>(p.whole.size(), 1);
  const int fraction = static_cast<int>(p.fraction.size());
  const std::string shifted = std::string(p.whole.empty() ? "0" : p.whole) + std::string(p.fraction);
  if (scale.format == Quantity::Format::binary_si) {
    const bool fast = fraction == 0 && 14 - static_cast<int>(whole) - scale.exponent * 3 / 10 >= 0;
    if (fast && !p.whole.empty() && (strtoll(shifted.c_str(), nullptr, 10) & 7) != 0)
      return std::string(text);
    return q.str();
  }
  const int exponent = scale.exponent - fraction;
  if (shifted.size() <= 18 && exponent >= -9 && exponent % 3 == 0 && !shifted.ends_with("000") &&
      shifted[0] != '0') {
    return std::string(text);
  }
  return q.str();
}

}  // namespace limpet::schema

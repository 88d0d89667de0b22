// resource.Quantity: the fixed-point numbers of requests, limits and capacities ("500m", "128Mi", "1e3").
//
// A value is kept exactly as a 128-bit count of billionths, so parse, compare and add are integer arithmetic.
// Finer fractions round away from zero to one billionth, as upstream does; binary suffixes saturate at
// 2^63-1. Values of 5e28 or more (far beyond any machine) are refused, where upstream would keep them as big
// decimals. Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::schema {

__extension__ typedef __int128 Int128;

class Quantity {
 public:
  enum class Format : uint8_t { decimal_si, binary_si, decimal_exponent };

  Quantity() = default;
  static Result<Quantity> parse(std::string_view text);
  // Reads "" and unparsable text as zero: for objects that validation has already passed.
  static Quantity parse_or_zero(std::string_view text);
  static Quantity of(int64_t value, Format format = Format::decimal_si);
  static Quantity of_milli(int64_t value, Format format = Format::decimal_si);

  // Canonical form: no fraction, the largest suffix that loses nothing.
  std::string str() const;
  int64_t value() const;        // rounded away from zero, saturated
  int64_t milli_value() const;  // likewise, in thousandths
  bool is_zero() const { return nanos_ == 0; }
  int sign() const { return nanos_ == 0 ? 0 : (nanos_ < 0 ? -1 : 1); }
  bool is_integer() const;  // a whole number
  Format format() const { return format_; }

  // Zero takes over the format of the other side. Saturates at the ends of the range.
  Quantity& add(const Quantity& other);
  Quantity& sub(const Quantity& other);
  bool operator==(const Quantity& o) const { return nanos_ == o.nanos_; }
  auto operator<=>(const Quantity& o) const { return nanos_ <=> o.nanos_; }

 private:
  Int128 nanos_ = 0;
  Format format_ = Format::decimal_si;
};

// The text a server stores for what a client sent: canonical, except that upstream keeps the client's own
// spelling where its fast path finds it canonical enough ("12E3", "1.001").
Result<std::string> canonical_quantity(std::string_view text);

}  // namespace limpet::schema

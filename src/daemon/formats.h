// The formats of values in the configuration: addresses, ranges, durations, sizes, names, labels, taints.
//
// Pure functions. A check returns an empty string when the value is good, otherwise what a good one looks
// like.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::daemon {

enum class Format {
  text,         // anything without control characters
  path,         // absolute
  cgroup,       // a path below the cgroup mount
  address,      // IPv4 or IPv6
  cidr,         // address/prefix, host bits zero
  dns_name,     // RFC 1123 subdomain: lower case labels, at most 253 characters
  link_name,    // a network interface: at most 15 characters
  tls_name,     // a DNS name, a wildcard name or an address
  url,          // http:// or https:// with a host
  registry,     // host or host:port
  label_key,    // [prefix/]name as Kubernetes has it
  label_value,  // at most 63 characters
  taint,        // key[=value]:Effect
  group_name,   // of /etc/group
};

std::string check_format(Format format, std::string_view value);

struct Cidr {
  int family = 0;                   // AF_INET or AF_INET6
  std::array<uint8_t, 16> bytes{};  // network order; 4 used for IPv4
  int prefix = 0;

  bool contains(const Cidr& other) const;  // an address is a range of full length
  bool overlaps(const Cidr& other) const { return contains(other) || other.contains(*this); }
};
// "10.42.0.0/16", or an address alone.
Result<Cidr> parse_cidr(std::string_view text);

// Bytes: digits with an optional Ki, Mi, Gi, Ti, k, M, G or T ("10Mi").
Result<int64_t> parse_size(std::string_view text);
// Milliseconds: one or more numbers with ms, s, m or h ("1h30m", "500ms").
Result<int64_t> parse_duration_ms(std::string_view text);

// Levenshtein distance with neighbouring swaps counted as one (optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);

}  // namespace limpet::daemon

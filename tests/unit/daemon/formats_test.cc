#include "daemon/formats.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::daemon;

TEST_CASE("a format accepts what it names and refuses the rest") {
  struct Row {
    Format format;
    const char* value;
    bool good;
  };
  const std::string long_label(63, 'a');
  const std::string too_long_label(64, 'a');
  std::string name_253;
  while (name_253.size() < 253) name_253 += name_253.size() % 64 == 63 ? "." : "a";
  const std::string name_254 = name_253 + "a";
  const Row rows[] = {
      {Format::text, "anything at all", true},
      {Format::text, "a\nb", false},
      {Format::path, "/var/lib", true},
      {Format::path, "/var/..data/x", true},
      {Format::path, "var/lib", false},
      {Format::path, "/var/../etc", false},
      {Format::path, "/..", false},
      {Format::cgroup, "limpet", true},
      {Format::cgroup, "/a/b", true},
      {Format::cgroup, "/limpet", true},
      {Format::cgroup, "limpet.d/..x", true},
      {Format::cgroup, "/", false},
      {Format::cgroup, "", false},
      {Format::cgroup, ".", false},
      {Format::cgroup, "./", false},
      {Format::cgroup, "/.", false},
      {Format::cgroup, "./limpet", false},
      {Format::cgroup, "limpet/.", false},
      {Format::cgroup, "limpet/", false},
      {Format::cgroup, "//limpet", false},
      {Format::cgroup, "a//b", false},
      {Format::cgroup, "../a", false},
      {Format::address, "10.0.0.1", true},
      {Format::address, "::", true},
      {Format::address, "10.0.0.256", false},
      {Format::address, "10.0.0.1/8", false},
      {Format::address, "localhost", false},
      {Format::cidr, "10.42.0.0/16", true},
      {Format::cidr, "fd00::/64", true},
      {Format::cidr, "10.42.0.1/16", false},
      {Format::cidr, "10.42.0.0", false},
      {Format::cidr, "10.42.0.0/33", false},
      {Format::cidr, "10.42.0.0/", false},
      {Format::cidr, "10.42.0.0/1 6", false},
      {Format::dns_name, "edge-1.site.example", true},
      {Format::dns_name, "1", true},
      {Format::dns_name, "Edge", false},
      {Format::dns_name, "-a", false},
      {Format::dns_name, "a.", false},
      {Format::dns_name, "a..b", false},
      {Format::dns_name, "a/b", false},
      {Format::dns_name, name_253.c_str(), true},
      {Format::dns_name, name_254.c_str(), false},
      {Format::dns_name, too_long_label.c_str(), false},
      {Format::link_name, "limpet0", true},
      {Format::link_name, "sixteen-letters-", false},
      {Format::link_name, "a/b", false},
      {Format::link_name, "..", false},
      {Format::tls_name, "*.site.example", true},
      {Format::tls_name, "192.0.2.1", true},
      {Format::tls_name, "*.*.example", false},
      {Format::url, "http://proxy.example:3128", true},
      {Format::url, "https://[2001:db8::1]:443/path", true},
      {Format::url, "http://user:pw@proxy.example", true},
      {Format::url, "ftp://x", false},
      {Format::url, "http://", false},
      {Format::url, "http://a:0", false},
      {Format::url, "http://a:99999", false},
      {Format::registry, "docker.io", true},
      {Format::registry, "127.0.0.1:5000", true},
      {Format::registry, "a:b", false},
      {Format::registry, "http://a", false},
      {Format::label_key, "zone", true},
      {Format::label_key, "topology.kubernetes.io/zone", true},
      {Format::label_key, "a/b/c", false},
      {Format::label_key, "/b", false},
      {Format::label_key, "", false},
      {Format::label_value, "", true},
      {Format::label_value, "A_b.c-1", true},
      {Format::label_value, "-a", false},
      {Format::label_value, long_label.c_str(), true},
      {Format::label_value, too_long_label.c_str(), false},
      {Format::taint, "dedicated=gpu:NoSchedule", true},
      {Format::taint, "example.com/x:NoExecute", true},
      {Format::taint, "dedicated=:PreferNoSchedule", true},
      {Format::taint, "dedicated=gpu", false},
      {Format::taint, "dedicated=gpu:Never", false},
      {Format::taint, "=gpu:NoSchedule", false},
      {Format::taint, ":NoSchedule", false},
      {Format::group_name, "limpet", true},
      {Format::group_name, "a b", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.value);
    CHECK_EQ(check_format(row.format, row.value).empty(), row.good);
  }
}

TEST_CASE("ranges contain and overlap by their first bits") {
  struct Row {
    const char *a, *b;
    bool contains, overlaps;
  };
  const Row rows[] = {
      {"10.42.0.0/16", "10.42.3.0/24", true, true},   {"10.42.3.0/24", "10.42.0.0/16", false, true},
      {"10.42.0.0/16", "10.43.0.0/16", false, false}, {"10.43.0.0/16", "10.43.0.10", true, true},
      {"0.0.0.0/0", "192.0.2.1", true, true},         {"0.0.0.0/0", "::1", false, false},
      {"10.0.0.0/9", "10.128.0.0/9", false, false},   {"fd00::/8", "fd12::/16", true, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.a);
    CAPTURE(row.b);
    const auto a = parse_cidr(row.a), b = parse_cidr(row.b);
    REQUIRE(a.has_value());
    REQUIRE(b.has_value());
    CHECK_EQ(a->contains(*b), row.contains);
    CHECK_EQ(a->overlaps(*b), row.overlaps);
  }
}

TEST_CASE("sizes and durations") {
  struct Row {
    const char* text;
    int64_t size, duration;  // -1: refused
  };
  const Row rows[] = {
      {"0", 0, 0},
      {"10", 10, -1},
      {"10Mi", 10 << 20, -1},
      {"1G", 1000000000, -1},
      {"2k", 2000, -1},
      {"1Ti", 1ll << 40, -1},
      {"30s", -1, 30000},
      {"500ms", -1, 500},
      {"1h30m", -1, 5400000},
      {"5m", -1, 300000},
      {"", -1, -1},
      {"Mi", -1, -1},
      {"1 Mi", -1, -1},
      {"-1", -1, -1},
      {"1.5G", -1, -1},
      {"99999999999999999999", -1, -1},
      {"9223372036854775807", INT64_MAX, -1},
      {"9223372036854775807k", -1, -1},
      {"1s1", -1, -1},
      {"9223372036854775807h", -1, -1},
      {"1x", -1, -1},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK_EQ(parse_size(row.text).value_or(-1), row.size);
    CHECK_EQ(parse_duration_ms(row.text).value_or(-1), row.duration);
  }
}

TEST_CASE("edit distance counts a swap of neighbours once") {
  CHECK_EQ(edit_distance("", ""), 0);
  CHECK_EQ(edit_distance("", "abc"), 3);
  CHECK_EQ(edit_distance("dataDir", "dataDri"), 1);
  CHECK_EQ(edit_distance("kitten", "sitting"), 3);
  CHECK_EQ(edit_distance("same", "same"), 0);
}

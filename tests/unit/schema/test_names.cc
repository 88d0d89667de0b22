#include "base/json.h"
#include "base/random.h"
#include "schema/names.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

TEST_CASE("names: every rule and message as upstream") {
  const std::pair<const char*, NameCheck> rules[] = {{"label", check_dns1123_label},
                                                     {"subdomain", check_dns1123_subdomain},
                                                     {"underscore", check_dns1123_subdomain_underscore},
                                                     {"dns1035", check_dns1035_label},
                                                     {"wildcard", check_wildcard_dns1123_subdomain},
                                                     {"qualified", check_qualified_name},
                                                     {"labelvalue", check_label_value},
                                                     {"path", check_path_segment},
                                                     {"env", check_env_var_name},
                                                     {"cmkey", check_config_map_key},
                                                     {"cident", check_c_identifier},
                                                     {"header", check_http_header_name},
                                                     {"portname", check_port_name},
                                                     {"percent", check_percent}};
  for (const auto& row : read_table("names.tsv")) {
    CAPTURE(row[0]);
    CAPTURE(row[1]);
    const json::Value input = json::parse(row[1]).value(), expected = json::parse(row[2]).value();
    NameCheck check = nullptr;
    for (const auto& [name, rule] : rules) {
      if (row[0] == name) check = rule;
    }
    REQUIRE((check != nullptr));
    const Messages got = check(input.ref().str());
    REQUIRE(got.size() == expected.ref().size());
    for (size_t i = 0; i < got.size(); i++) CHECK(got[i] == expected.ref().at(i).str());
  }
}

TEST_CASE("names: addresses") {
  struct Case {
    const char *text, *ip, *cidr;
  };
  const char *bad_ip = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
             *bad_cidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  for (const Case& c : std::initializer_list<Case>{
           {"10.0.0.1", "", bad_cidr},
           {"2001:db8::1", "", bad_cidr},
           {"010.0.0.1", "must not have leading 0s", bad_cidr},
           {"::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address", bad_cidr},
           {"1.2.3", bad_ip, bad_cidr},
           {"1.2.3.256", bad_ip, bad_cidr},
           {"", bad_ip, bad_cidr},
           {"fe80::1%eth0", bad_ip, bad_cidr},
           {"10.0.0.0/8", bad_ip, ""},
           {"10.0.0.1/8", bad_ip, "must not have bits set beyond the prefix length"},
           {"10.0.0.0/33", bad_ip, bad_cidr},
           {"10.0.0.0/08", bad_ip, "must not have leading 0s in IP or prefix length"},
           {"2001:db8::/64", bad_ip, ""},
           {"2001:db8::1/64", bad_ip, "must not have bits set beyond the prefix length"},
           {"::ffff:1.2.3.4/128", bad_ip, "must not have an IPv4-mapped IPv6 address"}}) {
    CAPTURE(c.text);
    auto first = [](const Messages& m) { return m.empty() ? std::string() : m[0]; };
    CHECK(first(check_ip(c.text)) == c.ip);
    CHECK(first(check_cidr(c.text)) == c.cidr);
  }
}

TEST_CASE("names: generated") {
  SeededRandom random(7);
  CHECK(generate_name("web-", random).size() == 9);
  CHECK(generate_name(std::string(300, 'a'), random).size() == 63);
  CHECK(generate_name("web-", random) != generate_name("web-", random));
  CHECK(check_name(check_dns1123_label, "web-", true).empty());
  CHECK(!check_name(check_dns1123_label, "web-", false).empty());
  CHECK(!check_name(check_dns1123_label, "-", true).empty());
  CHECK(check_port_number(0)[0] == "must be between 1 and 65535, inclusive");
  CHECK(check_port_number(65535).empty());
  CHECK(check_user_id(-1)[0] == "must be between 0 and 2147483647, inclusive");
}

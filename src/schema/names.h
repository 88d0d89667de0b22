// The rules for names of the Kubernetes API, each with the message users know. A check returns what is wrong,
// one sentence each; nothing when the value is fine. Source:
// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace limpet::schema {

using Messages = std::vector<std::string>;

Messages check_dns1123_label(std::string_view value);
Messages check_dns1123_subdomain(std::string_view value);
Messages check_dns1123_subdomain_underscore(
    std::string_view value);  // "_" allowed: search domains of dnsConfig
Messages check_dns1123_subdomain_caseless(std::string_view value);
Messages check_dns1035_label(std::string_view value);
Messages check_wildcard_dns1123_subdomain(std::string_view value);
Messages check_qualified_name(std::string_view value);  // label keys, finalizers, resource names, taint keys
Messages check_label_value(std::string_view value);
Messages check_path_segment(std::string_view value);
Messages check_env_var_name(std::string_view value);  // any printable ASCII but "=", as since 1.34
Messages check_config_map_key(std::string_view value);
Messages check_c_identifier(std::string_view value);
Messages check_http_header_name(std::string_view value);
Messages check_port_number(int64_t port);
Messages check_port_name(std::string_view name);
Messages check_percent(std::string_view value);
Messages check_user_id(int64_t id);  // and group ids
Messages check_ip(
    std::string_view value);  // not the canonical-form rule; IPv4-mapped IPv6 and leading zeros are wrong
Messages check_cidr(std::string_view value);

std::string message_max_length(int64_t length);
std::string message_range(int64_t low, int64_t high);

// How names of a kind are checked: the rule, and whether the value is a prefix that gets a suffix appended.
using NameCheck = Messages (*)(std::string_view value);
Messages check_name(NameCheck rule, std::string_view value, bool prefix);

// metadata.generateName: the prefix, cut to 58 bytes, and five characters.
std::string generate_name(std::string_view prefix, Random& random);

}  // namespace limpet::schema

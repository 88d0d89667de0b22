// Object identifiers that limpet writes and looks for, as the content bytes of their DER. Internal.
#pragma once

#include <string_view>

namespace limpet::pki::oids {

using namespace std::string_view_literals;

constexpr std::string_view common_name = "\x55\x04\x03"sv;
constexpr std::string_view organization = "\x55\x04\x0a"sv;
constexpr std::string_view ecdsa_with_sha256 = "\x2a\x86\x48\xce\x3d\x04\x03\x02"sv;
constexpr std::string_view subject_key_identifier = "\x55\x1d\x0e"sv;
constexpr std::string_view key_usage = "\x55\x1d\x0f"sv;
constexpr std::string_view subject_alt_name = "\x55\x1d\x11"sv;
constexpr std::string_view basic_constraints = "\x55\x1d\x13"sv;
constexpr std::string_view authority_key_identifier = "\x55\x1d\x23"sv;
constexpr std::string_view extended_key_usage = "\x55\x1d\x25"sv;
constexpr std::string_view server_auth = "\x2b\x06\x01\x05\x05\x07\x03\x01"sv;
constexpr std::string_view client_auth = "\x2b\x06\x01\x05\x05\x07\x03\x02"sv;
constexpr std::string_view extension_request = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"sv;

}  // namespace limpet::pki::oids

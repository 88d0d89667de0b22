// Subjects and subject alternative names between their DER and their text. Internal.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "pki/certificate.h"

namespace limpet::pki {

// An IP address as 4 or 16 bytes; empty when the text is none.
std::string ip_to_bytes(const std::string& text);
std::string ip_to_text(std::string_view bytes);

// X.501 Name. Control characters and over-long parts are refused.
Result<std::string> encode_subject(const Subject& subject);
Result<Subject> decode_subject(std::string_view name_der);

// GeneralNames (RFC 5280, 4.2.1.6); other kinds than DNS names and addresses are passed over when reading.
Result<std::string> encode_alt_names(const Names& names);
Result<Names> decode_alt_names(std::string_view der);

// The value of one extension out of `SEQUENCE OF Extension`; empty when it is absent or the bytes are
// malformed.
std::string_view find_extension(std::string_view extensions_der, std::string_view oid);

}  // namespace limpet::pki

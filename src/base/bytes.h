// Byte buffers. A std::string owns bytes, a std::string_view borrows them; SharedBytes is an immutable
// buffer that store, watches, API and in-process informers reference together.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet {

using SharedBytes = std::shared_ptr<const std::string>;

inline SharedBytes share(std::string bytes) { return std::make_shared<const std::string>(std::move(bytes)); }

std::string hex(std::string_view bytes);
std::string hex64(uint64_t n);  // 16 digits, the highest first
// Strict, as hex() writes it: whole bytes, and no digit is upper case.
Result<std::string> unhex(std::string_view text);
std::string base64_encode(std::string_view bytes);
std::string base64url_encode(std::string_view bytes);  // RFC 4648 section 5, no padding
// Strict: padding as the form has it, no stray bits. base64_decode skips line breaks, as Kubernetes does
// (values of Secrets are often wrapped); other white space is refused.
Result<std::string> base64_decode(std::string_view text);
Result<std::string> base64url_decode(std::string_view text);

}  // namespace limpet

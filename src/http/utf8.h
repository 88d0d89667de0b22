// UTF-8 check of WebSocket text (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). Not for other
// rooms.
#pragma once

#include <string_view>

namespace limpet::http {
bool valid_utf8(std::string_view text);
}

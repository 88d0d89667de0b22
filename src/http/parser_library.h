// llhttp (Debian 13) or http-parser (Debian 12) behind one function. Not for other rooms.
#pragma once

#include <string_view>

#include "http/parser.h"

namespace limpet::http {

// Reads one complete header section, blank line included, that passed the line check. Null, or what the
// library dislikes.
const char* read_head_section(std::string_view section, Parser::Kind kind, MessageHead* head);

}  // namespace limpet::http

// Passphrases of backups: from a file, or typed without being shown.
#pragma once

#include <string>

#include "cli/commands.h"

namespace limpet::cli {

// The first line of a file, or all of it when there is one line only; at least backup::least_passphrase
// bytes.
Outcome<std::string> read_passphrase(const std::string& file);
// At the terminal of standard input; twice, where a mistake would be found only when it is too late.
Outcome<std::string> ask_passphrase(Context& context, const std::string& what, bool twice);
// --passphrase-file, or asked for. Without either way: exit_usage.
Outcome<std::string> get_passphrase(Context& context, const std::string& what, bool twice);

}  // namespace limpet::cli

// Completion of the limpet command for a shell, generated from the tables of commands and options. Pure.
#pragma once

#include <string>
#include <string_view>

namespace limpet::cli {

// "bash", "zsh" or "fish"; empty for any other.
std::string completion_script(std::string_view shell);

}  // namespace limpet::cli

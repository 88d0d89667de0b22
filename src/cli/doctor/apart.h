// Work in a child process, for what a failing disk or a stuck process can hold for ever: a system call that
// does not return cannot be given up otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace limpet::cli::doctor {

// What work returned; nullopt when it did not end in deadline_ms. It is then told to end, and killed; if even
// that does not end it, it is left behind. work runs in a copy of this process: it must not use the loop, and
// nothing that it changes is seen here. Without a process to spare the work is done here.
std::optional<std::string> apart(int64_t deadline_ms, const std::function<std::string()>& work);

}  // namespace limpet::cli::doctor

// What speaks for a damaged image below a container, so that it is worth reading the image through: worn
// flash loses or empties files long after they were unpacked. Pure.
#pragma once

#include <string_view>

namespace limpet::node {

// The runtime's words when it could not start the container's first process: what the kernel says of an
// executable (or its loader) that is missing, empty, no program any more, or that cannot be read.
bool start_error_hints_at_damage(std::string_view message);

// A signal that a program gets when its own code is not what it was.
bool signal_hints_at_damage(int signal);

}  // namespace limpet::node

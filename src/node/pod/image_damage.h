// What speaks for a damaged image below a container, so that it is worth reading the image through: worn
// flash loses or empties files long after they were unpacked. Pure.
#pragma once

#include <string_view>

namespace limpet::node {

// The runtime's words when it could not start the container's first process: what the kernel says of an
// executable (or its loader) that is missing, empty, no program any more, or that cannot be read.
bool start_error_hints_at_damage(std::string_view message);

// The last lines that a container left in its log, if it failed. The runtime's own first process says there
// that it could not become the program; a program's loader says there that a library is not what it was. The
// container could say so itself: believing it costs a look at the image.
bool output_hints_at_damage(std::string_view lines);

// A signal that a program gets when its own code is not what it was.
bool signal_hints_at_damage(int signal);

}  // namespace limpet::node

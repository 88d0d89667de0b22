// What the process as a whole needs before anything else: descriptors, signals, limits.
#pragma once

namespace limpet::daemon {

// Opens /dev/null on any of 0, 1, 2 that is closed: otherwise the first file opened (the database, say) would
// take the number and collect stray output. First thing in main.
void ensure_standard_descriptors();

// umask 0022 (secrets are written with explicit modes), SIGPIPE ignored, as many descriptors as allowed, last
// in line for the kernel's out-of-memory killer. What the kernel refuses is one warning; nothing here is
// worth not starting.
void set_up_process();

}  // namespace limpet::daemon

// The verbs of limpet-shim; each takes KEY=VALUE words and returns the exit code.
#pragma once

#include "shim/sys.h"

namespace limpet::shim {

// Owns one container until the daemon has its exit status. Returns in the first process when the socket is
// up.
int run_verb(const Args& args);
// Runs one process in a container and reports over descriptor 3, see exec.cc.
int exec_verb(const Args& args);
// Makes a pod's namespaces and holds them by bind mounts, see sandbox.cc.
int sandbox_verb(const Args& args);

// Moves this process into the cgroups given as cgroup=DIR; failing is not an error.
void join_cgroups(const Args& args);

}  // namespace limpet::shim

// Planted bugs: mistakes that others made, each one line in the code, which the simulator must find. They
// exist only in the simulator's own build (LIMPET_PLANTED); everywhere else PLANTED() is the constant false.
//
//   if (PLANTED("commit_older_term") || log_.term(agreed) == hard_.term) ...
//
// tests/sim/planted.txt lists them with what really happened.
#pragma once

#ifdef LIMPET_PLANTED
#include <string_view>

namespace limpet {
bool planted(std::string_view name);  // whether this run is to have that bug
}
#define PLANTED(name) (::limpet::planted(name))
#else
#define PLANTED(name) (false)
#endif

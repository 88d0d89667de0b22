// Failpoints: named places where a test makes the daemon fail or die. Compiled out of release builds.
//
//   if (LIMPET_FAILPOINT("store.commit.before")) return fail(Errc::io, "failpoint store.commit.before");
//
// Armed by the environment of the process: LIMPET_FAILPOINTS="NAME=ACTION[@N][,NAME=ACTION...]" with ACTION
// `error` (the macro is true), `kill` (SIGKILL to itself, as a power cut would), `sleep:MS`, `pause` (until
// it is armed otherwise); @N means the N-th hit only (from 1), otherwise every hit. What is armed so says in
// the log when it acts first: `failpoint name=NAME action=ACTION`. Tests in process use failpoint::arm().
// Names are listed by failpoint::hits().
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace limpet::failpoint {

bool hit(std::string_view name) noexcept;  // true: the caller must take its error path
void arm(std::string_view spec);           // replaces what was armed; "" disarms all
std::map<std::string, uint64_t> hits();    // how often each name was reached

}  // namespace limpet::failpoint

#ifdef LIMPET_FAILPOINTS
#define LIMPET_FAILPOINT(name) (::limpet::failpoint::hit(name))
#else
#define LIMPET_FAILPOINT(name) (false)
#endif

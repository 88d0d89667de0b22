// From when to when certificates are valid, whatever the clock did before. Pure; the reasons are in
// docs/decisions/0013-time.md.
//
// Every certificate is valid from the authority's beginning, and the authority's validity only ever grows
// (same key, same name: whoever trusts the old certificate trusts the new one). So after any order of jumps
// there is nothing that is not valid yet, and what has expired is made anew.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "pki/certificate.h"

namespace limpet::pki {

// What it may be: the time that is believed, and the time that the machine's clock reads, by which other
// programs of the device (kubectl) judge certificates. The same unless the clock is known to be wrong.
struct Moment {
  Moment(WallTime both) : believed(both), machine(both) {}
  Moment(WallTime believed_time, WallTime machine_time) : believed(believed_time), machine(machine_time) {}
  WallTime believed;
  WallTime machine;
  int64_t earliest() const { return std::min(believed, machine).seconds; }
  int64_t latest() const { return std::max(believed, machine).seconds; }
};

// When two thirds of the ordinary life are over: time for a new one.
int64_t authority_renewal(const Validity& have);
int64_t leaf_renewal(const Validity& have);

// Why a certificate will not do at this moment, for people; empty when it will.
std::string authority_due(const Validity& have, const Moment& moment);
// A leaf that lasts as long as the authority lets it is as good as a new one.
std::string leaf_due(const Validity& have, const Validity& authority, const Moment& moment);

// Of a new authority, and of one that is renewed: all that it was valid for, this moment, and its life.
Validity authority_validity(const Moment& moment);
Validity widened(const Validity& have, const Moment& moment);
// From the authority's beginning until a leaf's life from now.
Validity leaf_validity(const Validity& authority, const Moment& moment);

}  // namespace limpet::pki

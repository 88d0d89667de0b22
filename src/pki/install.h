// Files of the pki directory that come from the cluster instead of being made here: what a join brings, what
// a server issues to an agent, and an authority that takes the place of another.
//
// All of it is blocking file work, durable when it returns, and may be cut anywhere: the device is then what
// it was before or what it was to become, and doing it again completes it. Errors: `conflict` when the
// directory belongs to another cluster; `invalid_argument` when what came does not fit together (nothing was
// written then); those of the file system.
#pragma once

#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"
#include "pki/key.h"

namespace limpet::pki {

// The device's key for the request of a join, made at the first attempt and kept for the next ones, so that a
// server knows a device that asks again since the answer was lost. Until the join has succeeded it stands in
// DIRECTORY.joining; a device that has one already (it joins again) keeps that. former: the directory of what
// the device is until it joins, whose key it goes on with, so that it is known as who it was; "" for none.
Result<PrivateKey> joining_key(const std::string& directory, Random& random, const std::string& former = "");

// What a join brought. Keys are empty on an agent.
struct Joined {
  std::string ca_pem;  // all that are trusted; the first signs
  std::string ca_key_pem;
  std::string service_account_key_pem;
  std::string device_pem;  // for joining_key()
};
// Into a directory that is not there, or is empty, with one rename. Into the directory of a device that was
// in this cluster before, file by file.
Result<> install_joined(const std::string& directory, const Joined& joined, Random& random);

// What a server issued to an agent: the authorities that are trusted now, and another certificate for the
// same key and device ("": the one that is there stays, which one of these authorities must have issued). The
// authorities of before stay in ca.crt until the certificate that one of them issued is replaced.
Result<> install_renewed(const std::string& directory, std::string_view ca_pem, std::string_view device_pem,
                         Random& random);

// Another set of trusted authorities, and on servers (key not empty) the key of the one that signs: the steps
// of replacing the authority (cluster/authority.h). Authorities are told apart by their keys: one that is
// there already keeps the certificate that lasts longer. True when something had to be written; certificates
// are then to be looked at again (ensure_identity).
Result<bool> install_authority(const std::string& directory, std::string_view ca_pem,
                               const std::string& ca_key_pem, Random& random);
Result<bool> install_service_account_key(const std::string& directory, const std::string& key_pem,
                                         Random& random);

}  // namespace limpet::pki

// The proofs of identity that a device uses: its certificate authority and its key for service-account
// tokens, wrapped as the functions that ApiServer takes.
#pragma once

#include <memory>
#include <string>

#include "api/options.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"

namespace limpet::api {

// Clock and random must outlive what is returned. Errors: the key cannot be read.
Result<Identity> make_identity(const std::string& service_account_key_pem, const std::string& issuer,
                               Clock& clock, Random& random);

}  // namespace limpet::api

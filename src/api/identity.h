// The proofs of identity that a device uses: its certificate authority and its key for service-account
// tokens, wrapped as the functions that ApiServer takes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/options.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"

namespace limpet::api {

// The keys of service-account tokens: the first signs, all verify. Held by whoever replaces them while the
// API runs, and by the Identity made of them; used on the loop's thread.
class AccountKeys {
 public:
  AccountKeys();
  ~AccountKeys();
  // PEM: a private key first, then private keys or the public halves ("PUBLIC KEY") of keys that sign no more
  // or not yet. Tokens of keys that are not among them are refused from now on. On an error (one cannot be
  // read; there is none) those of before stay.
  Result<> set(const std::vector<std::string>& keys_pem, Random& random);

  struct State;
  State& state() { return *state_; }  // for identity.cc

 private:
  std::unique_ptr<State> state_;
};

// Clock and random must outlive what is returned.
Identity make_identity(std::shared_ptr<AccountKeys> keys, const std::string& issuer, Clock& clock,
                       Random& random);
// The same with keys that stay. Errors: as AccountKeys::set().
Result<Identity> make_identity(const std::vector<std::string>& keys_pem, const std::string& issuer,
                               Clock& clock, Random& random);

}  // namespace limpet::api

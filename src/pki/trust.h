// The authorities that certificates are believed by, as they come and go while connections last: TLS looks at
// a certificate once, when its connection begins.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "pki/certificate.h"

namespace limpet::pki {

class Trust {
 public:
  // True: one that was trusted is not any more, and whoever was let in by it has to be looked at. Authorities
  // are told apart by their keys. A bundle that cannot be read changes nothing.
  bool replace(std::string_view ca_pem);
  // By the key of one of these, whether it is still valid or not. What is signed by an authority in between
  // is not.
  bool issued(const Certificate& certificate) const;
  // How often one has gone. Who began when the number was another one has to be looked at, too.
  uint64_t losses() const { return losses_; }

 private:
  bool has_key_of(const Certificate& authority) const;

  std::vector<Certificate> authorities_;
  uint64_t losses_ = 0;
};

}  // namespace limpet::pki

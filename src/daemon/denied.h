// Certificates that are refused everywhere: those of devices that left the cluster or were revoked, by their
// key.
//
// A live copy of limpet/denied/SHA-256 (of the SubjectPublicKeyInfo, in hex). A device that is let in again
// with the same key is taken off.
#pragma once

#include <string>
#include <string_view>

#include "cluster/device.h"
#include "daemon/mirror.h"
#include "pki/certificate.h"

namespace limpet::daemon {

using cluster::denied_key;

class Denied {
 public:
  // `changed` as Mirror's.
  Denied(loop::Loop& loop, store::Space& space, loop::Task changed);
  bool has(const pki::Certificate& certificate) const {
    return !mirror_.items().empty() && has(certificate.spki_sha256());
  }
  bool has(const std::string& spki_sha256) const { return mirror_.items().contains(denied_key(spki_sha256)); }

 private:
  Mirror mirror_;
};

}  // namespace limpet::daemon

// Who this cluster and this device are: made at first start, followed and renewed afterwards.
//
// Files in the directory (mode 0700), each mode 0600 and replaced whole:
//   ca.key ca.crt            the cluster's authority: ten years, renewed with the same key and name at 2/3.
//                            While one takes the place of another, ca.crt holds both, and both are trusted:
//                            the one whose key is in ca.key signs (install.h: from one to the next)
//   sa.key                   signs service-account tokens
//   serving.key serving.crt  for every name and address of the device: a year; new when these change, at 2/3
//                            of its life, and when the clock says that it is not valid
//   admin.key admin.crt      client certificate limpet-admin, group system:masters: the same
//   node.key node.crt        the device certificate (device.h): the same, but its key stays, since the
//                            cluster's data key is wrapped for it
// A device that is an agent has ca.crt and the device certificate only, and no key that could sign: a server
// renews it (Identity::due says when and why).
// A start that was cut short goes on where it stopped: keys are written before their certificates, and what
// does not fit together is made again, save the authority, whose key is never replaced once it has a
// certificate. With a damaged key of the authority the device goes on with the certificates that there are,
// as long as they do; a damaged certificate of the authority is an error. Where the disk is full or
// read-only, a device that has been started before goes on with what it holds in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "pki/certificate.h"
#include "pki/validity.h"

namespace limpet::pki {

struct IdentityOptions {
  std::string directory;   // dataDir/pki
  std::string node_name;   // of the device certificate
  bool agent = false;      // the rest is not looked at then: what there is came with the join
  Names names;             // everything the API may be reached by
  std::string server_url;  // for the kubeconfig: https://127.0.0.1:6443
  std::string
      kubeconfig_path;  // written when missing or when what it embeds is no longer current; "" for none
  bool anew = false;    // a server's leaves are made anew, however good they are
};

struct Change {
  std::string what;  // "ca", "service account key", "serving certificate", "admin certificate", "device
                     // certificate", "admin kubeconfig"
  std::string why;   // "first start", "names changed", "two thirds of its life are over", ...
};

struct Identity {
  std::string ca_pem;  // all that are trusted; the first signs
  std::string ca_key_pem;
  std::string service_account_key_pem;
  std::string serving_pem;  // the leaf, then the CA
  std::string serving_key_pem;
  std::string admin_pem;
  std::string admin_key_pem;
  std::string peer_pem;  // the device certificate; "" where the authority is damaged and it was never made
  std::string peer_key_pem;
  std::string kubeconfig;
  int64_t renew_at = 0;         // seconds since 1970: call again by then
  std::vector<Change> changes;  // those that are on disk
  std::string unwritten;        // why the rest is in memory only: call again soon; "" when all is on disk
  std::string damaged;          // why nothing can be signed, and what to do; "" when the authority is whole
  std::string due;  // of an agent: why its certificate is to be renewed by a server now; "" when not
};

// Loads, makes and renews, so that all is valid at this moment. Blocking file work: at start-up and on the
// pool. An agent that has not joined gets `not_found`, one whose files are damaged `corrupt`: it has to join.
Result<Identity> ensure_identity(const IdentityOptions& options, const Moment& moment, Random& random);

// The same for options.agent, which needs no place to write.
Result<Identity> agent_identity(const IdentityOptions& options, const Moment& moment, Random& random);

// A kubeconfig (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/) with
// all embedded.
std::string kubeconfig_text(std::string_view server_url, std::string_view user, std::string_view ca_pem,
                            std::string_view certificate_pem, std::string_view key_pem);

}  // namespace limpet::pki

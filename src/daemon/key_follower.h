// The cluster's keys as the store has them now, opened, and this server doing what they say: authority and
// signing key become its files, certificates follow, tokens are verified by them.
//
// A live copy of limpet/keys/ and limpet/data-key/ (cluster/keys.h). A device that nobody joined has none in
// its store; one that was removed cannot open them any more. Loop thread; owned by the cluster's part.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/authority.h"
#include "cluster/keys.h"
#include "cluster/signing.h"
#include "daemon/mirror.h"
#include "daemon/part.h"

namespace limpet::daemon {

struct OpenedKeys {
  cluster::DataKey data_key;
  cluster::Authorities authorities;
  store::Revision authority_revision = 0;
  cluster::SigningKeys signing;
  store::Revision signing_revision = 0;
};

class KeyFollower {
 public:
  // `changed` comes when opened() is something else.
  KeyFollower(Device& device, loop::Task changed);
  KeyFollower(const KeyFollower&) = delete;

  // Null: there are none, or they cannot be opened here (yet).
  const OpenedKeys* opened() const { return opened_ ? &*opened_ : nullptr; }
  // The wraps of the data key, of every generation, by their keys.
  std::vector<std::string> wraps() const;

 private:
  void look();
  Result<std::optional<OpenedKeys>> open() const;
  void follow();

  Device& device_;
  loop::Task changed_;
  std::optional<OpenedKeys> opened_;
  Mirror keys_, wraps_;
};

}  // namespace limpet::daemon

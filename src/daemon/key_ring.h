// The keys that every server of the cluster holds, in the store (cluster/keys.h), for who is let in.
//
// A device alone keeps them in its files only. With the first device that is let in they go into the store,
// sealed with a data key that is wrapped for each server. Read anew each time: they may have been replaced.
// Loop thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "cluster/keys.h"
#include "daemon/part.h"
#include "store/store.h"

namespace limpet::daemon {

class KeyRing {
 public:
  explicit KeyRing(Device& device) : device_(device), alive_(std::make_shared<char>()) {}
  KeyRing(const KeyRing&) = delete;

  struct Prepared {
    cluster::DataKey data_key;
    // To be committed with what the keys are wanted for: nothing, or the keys for the first time, which fails
    // when somebody else was faster.
    std::vector<store::Op> ops;
    // Fails when any of the keys were replaced since: to be committed with what is wrapped with the data key.
    std::optional<store::Op> unchanged;
  };
  // `corrupt`: what is in the store cannot be opened with this device's key.
  void prepare(std::function<void(Result<Prepared>)> done);

 private:
  using Done = std::function<void(Result<Prepared>)>;
  void open(const store::Item& authority, const Done& done);
  Result<Prepared> first_time();
  Result<pki::PrivateKey> own_key() const;

  Device& device_;
  std::shared_ptr<char> alive_;
};

}  // namespace limpet::daemon

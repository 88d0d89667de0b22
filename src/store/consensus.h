// The raft group of a store, for whoever carries its messages between devices and changes its members.
//
// Owned by the store, on the loop's thread. Messages are bytes here (raft/codec.h has their shape): they may
// be lost, doubled and late, never altered, and come from members of this cluster alone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "raft/raft.h"

namespace limpet::store {

class Consensus {
 public:
  // Ends what it stands for when it goes; may outlive the store.
  using Subscription = std::shared_ptr<void>;
  struct Leading {
    raft::Term term = 0;
    int64_t since_ms = 0;  // of the loop's clock
    // Everything that was acknowledged in earlier terms is in the state here: what is decided from it now,
    // for this term (Txn::term), rests on all of it. When it becomes so, a barrier tells.
    bool ready = false;
  };

  virtual ~Consensus() = default;

  virtual raft::MemberId self() const = 0;
  virtual const std::string& cluster() const = 0;  // 16 bytes
  virtual raft::Status status() const = 0;

  // Called with each message for another member.
  virtual void on_message(std::function<void(raft::MemberId to, std::string bytes)> f) = 0;
  // `corrupt` or `unsupported`: no message, or one of a newer version; nothing was done.
  // `from`: whose connection it came on.
  virtual Result<> receive(std::string_view bytes, raft::MemberId from) = 0;
  virtual void unreachable(raft::MemberId peer) = 0;  // what was sent to it is probably lost
  // Who leads, whenever that changes; not what is so already. Each subscriber is told in the order in which
  // they came.
  [[nodiscard]] virtual Subscription on_standing(std::function<void(const raft::Standing&)> f) = 0;
  // Nothing: another member leads, or none. From the moment of which on_standing() tells.
  virtual std::optional<Leading> leading() const = 0;
  // Leads a group of nobody else: what is here is all there is. Cheap.
  virtual bool alone() const = 0;

  // Asks for these voters and learners; the group agrees on it, or not: status() tells. Errors as raft's.
  virtual Result<> reconfigure(const raft::Membership& wanted) = 0;
  virtual Result<> transfer(raft::MemberId to) = 0;
  // Done once the state here is at least what was acknowledged by any member before the call. `unavailable`:
  // no leader could say, ask again. Those that are asked for while a question is under way share the next
  // one; of a group of one it is done when the call returns.
  virtual void barrier(std::function<void(Result<>)> done) = 0;
};

}  // namespace limpet::store

// The raft group of a store, for whoever carries its messages between devices and changes its members.
//
// Owned by the store, on the loop's thread. Messages are bytes here (raft/codec.h has their shape): they may
// be lost, doubled and late, never altered, and come from members of this cluster alone.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "raft/raft.h"

namespace limpet::store {

class Consensus {
 public:
  virtual ~Consensus() = default;

  virtual raft::MemberId self() const = 0;
  virtual const std::string& cluster() const = 0;  // 16 bytes
  virtual raft::Status status() const = 0;

  // Called with each message for another member.
  virtual void on_message(std::function<void(raft::MemberId to, std::string bytes)> f) = 0;
  // `corrupt` or `unsupported`: no message, or one of a newer version; nothing was done.
  virtual Result<> receive(std::string_view bytes) = 0;
  virtual void unreachable(raft::MemberId peer) = 0;  // what was sent to it is probably lost
  // Who leads, whenever that changes.
  virtual void on_standing(std::function<void(const raft::Standing&)> f) = 0;

  // Asks for these voters and learners; the group agrees on it, or not: status() tells. Errors as raft's.
  virtual Result<> reconfigure(const raft::Membership& wanted) = 0;
  virtual Result<> transfer(raft::MemberId to) = 0;
  // Done once the state here is at least what was acknowledged by any member before the call. `unavailable`:
  // no leader could say, ask again.
  virtual void barrier(std::function<void(Result<>)> done) = 0;
};

}  // namespace limpet::store

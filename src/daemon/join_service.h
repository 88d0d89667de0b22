// Lets devices into the cluster: POST /limpet/v1/join of port 6443, and the tokens for it.
//
// The leader decides; other servers hand the request on to it. What a join writes is one transaction: the
// token's use, the record of the device, the keys for a server. Loop thread; owned by the cluster's part.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cluster/join.h"
#include "daemon/key_ring.h"
#include "daemon/part.h"
#include "http/message.h"
#include "store/store.h"

namespace limpet::daemon {

class JoinService {
 public:
  // `joined` comes after a server was let in.
  JoinService(Device& device, KeyRing& keys, loop::Task joined);
  ~JoinService();
  JoinService(const JoinService&) = delete;

  // Answers, now or later.
  void serve(http::ExchangePtr exchange);

 private:
  struct Attempt;
  using AttemptPtr = std::shared_ptr<Attempt>;
  void look_up(const AttemptPtr& attempt);
  void decide(const AttemptPtr& attempt, const KeyRing::Prepared& keys);
  Result<cluster::Cluster> cluster(const cluster::DataKey& key) const;
  Result<store::Txn> transaction(const Attempt& attempt, const KeyRing::Prepared& keys) const;
  void commit(const AttemptPtr& attempt, store::Txn txn);
  cluster::Device own_record() const;

  Device& device_;
  KeyRing& keys_;
  loop::Task joined_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

// The status of an error of cluster/token.h and cluster/join.h, as HTTP has it.
http::Response refusal_of(const Error& error);

}  // namespace limpet::daemon

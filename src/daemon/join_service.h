// Lets devices into the cluster: POST /limpet/v1/join of port 6443, and the tokens for it.
//
// The leader decides; other servers hand the request on to it. What a join writes is one transaction: the
// token's use, the record of the device, the keys for a server. A request whose client is gone is dropped:
// the client asks again. Loop thread; owned by the cluster's part.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cluster/join.h"
#include "daemon/key_ring.h"
#include "daemon/part.h"
#include "http/message.h"
#include "peer/rate_log.h"
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
  using Found = std::function<void(std::optional<store::Item>)>;
  // Not called when the store cannot say, which the client is told, nor when that one is gone.
  void read(const AttemptPtr& attempt, const std::string& key, Found found);
  void look_up(const AttemptPtr& attempt);
  void look_up_device(const AttemptPtr& attempt);
  Result<cluster::Known> known(const Attempt& attempt) const;
  void decide(const AttemptPtr& attempt, const KeyRing::Prepared& keys);
  Result<cluster::Cluster> cluster(const cluster::DataKey& key) const;
  Result<store::Txn> transaction(const Attempt& attempt, const KeyRing::Prepared& keys) const;
  void commit(const AttemptPtr& attempt, store::Txn txn);
  void again(const AttemptPtr& attempt);
  // The one who asks is refused; something here is not as it should be.
  void deny(const Attempt& attempt, const Error& error);
  void fail(const Attempt& attempt, const Error& error);
  void note(const Attempt& attempt, const Error& error);
  cluster::Device own_record() const;

  Device& device_;
  KeyRing& keys_;
  loop::Task joined_;
  peer::RateLog log_;  // by address
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

// The client's address, in what one server hands on to another; believed on connections of servers alone.
inline constexpr const char* client_header = "X-Limpet-From";

// The status of an error of the store, a server or this device, as HTTP has it: 503 (with Retry-After) and
// above may pass.
http::Response refusal_of(const Error& error);

}  // namespace limpet::daemon

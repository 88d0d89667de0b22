// Requests about the cluster itself that only the leader serves, on a server that does not lead: handed on
// whole, with small answers. (Those of the API stream: api/forward.h.)
//
// Owned by the cluster's service; destroying it ends what is under way without an answer. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "api/cluster_access.h"
#include "http/message.h"
#include "loop/loop.h"

namespace limpet::daemon {

class LeaderRelay {
 public:
  // A join comes from anybody on the network: what is larger is refused here.
  static constexpr size_t max_body = size_t{16} * 1024;

  LeaderRelay(loop::Loop& loop, api::ClusterAccess& cluster) : loop_(loop), cluster_(cluster) {}
  LeaderRelay(const LeaderRelay&) = delete;

  // `otherwise` answers when there is nobody to hand it to, or not a byte of it left: the request was
  // certainly not served. One that came from another server is not handed on again. wait_ms: the leader that
  // has not answered then is as good as out of reach, too, which must not matter to what is asked; 0: as long
  // as it takes. What cannot be known is answered 504.
  void hand_on(http::ExchangePtr exchange, int64_t wait_ms, std::function<void()> otherwise);

 private:
  struct Relay;
  void ended(uint64_t id, const Result<>& end);

  loop::Loop& loop_;
  api::ClusterAccess& cluster_;
  uint64_t next_ = 0;
  std::map<uint64_t, std::shared_ptr<Relay>> relays_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon

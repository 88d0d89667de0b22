// What the API asks of the cluster (api/cluster_access.h), over the raft group of the store and the
// connections to the other servers.
//
// A request for the leader goes over HTTP/1.1 on connections of kind `api` that are kept for a while. Owned
// by the peers' part; outlives the ApiServer that it is given to. Loop thread.
#pragma once

#include <list>
#include <memory>

#include "api/cluster_access.h"
#include "http/client.h"
#include "loop/loop.h"
#include "peer/peers.h"
#include "store/consensus.h"

namespace limpet::daemon {

// Connections to other servers as an http::Client dials them. Hosts are members' ids, in hex.
class MemberDialer final : public http::Dialer {
 public:
  MemberDialer(peer::Peers& peers, peer::Kind kind) : peers_(peers), kind_(kind) {}
  static http::Origin origin(raft::MemberId member);
  std::unique_ptr<Dial> connect(loop::Loop& loop, const http::Origin& where, int64_t timeout_ms,
                                Done done) override;
  std::unique_ptr<Dial> secure(loop::Loop& loop, std::unique_ptr<loop::Stream> stream,
                               const http::Origin& origin, Done done) override;

 private:
  peer::Peers& peers_;
  peer::Kind kind_;
};

class ClusterLink final : public api::ClusterAccess {
 public:
  // patience_ms: for the answer of who led before, while no server is known to lead.
  ClusterLink(loop::Loop& loop, store::Consensus& group, peer::Peers& peers, int64_t patience_ms = 2'000);

  bool leading() const override;
  bool leader_known() const override { return standing_.leader != 0; }
  uint64_t term() const override { return standing_.term; }
  bool alone() const override { return group_.alone(); }
  void barrier(std::function<void(Result<>)> done) override { group_.barrier(std::move(done)); }
  [[nodiscard]] std::unique_ptr<api::Forwarding> forward(http::Request request,
                                                         api::ForwardEvents events) override;
  // This server shows another certificate: connections that were opened with the one before are left, so that
  // no request is under way on one when its authority goes.
  void renewed() { client_.drop_idle(); }
  // Who leads is not what it was. Called from inside the store.
  void on_change(std::function<void()> f) { on_change_ = std::move(f); }

 private:
  class Tracked;

  void changed(const raft::Standing& now);
  void give_up(const std::function<bool(const Tracked&)>& which, const char* why);

  loop::Loop& loop_;
  store::Consensus& group_;
  raft::Standing standing_;
  std::list<Tracked*> under_way_;
  const int64_t patience_ms_;
  loop::Timer leaderless_;
  MemberDialer dialer_;
  http::Client client_;
  std::function<void()> on_change_;
  store::Consensus::Subscription subscription_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon

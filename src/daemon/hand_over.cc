#include "daemon/hand_over.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"

namespace limpet::daemon {

void HandOver::start(loop::Task done) {
  if (group_.alone() || group_.status().standing.role != raft::Role::leader || !ask()) return done();
  done_ = std::move(done);
  limit_.start(limit_ms, [this] {
    log::warning("no other server took the lead in time, stopping nevertheless", {{"ms", limit_ms}});
    end();
  });
  subscription_ = group_.on_standing([this](const raft::Standing& now) {
    if (now.role == raft::Role::leader || now.leader == 0) return;
    // The store says so in the middle of its own work.
    limit_.start(0, [this] {
      log::info("another server leads now");
      end();
    });
  });
}

// Of those that answer the one that lacks the least.
bool HandOver::ask() {
  const raft::Status status = group_.status();
  std::vector<raft::PeerStatus> able;
  for (const raft::PeerStatus& peer : status.peers) {
    if (peer.active && peer.id != group_.self() && status.membership.votes(peer.id)) able.push_back(peer);
  }
  std::sort(able.begin(), able.end(), [](const auto& a, const auto& b) { return a.match > b.match; });
  return std::any_of(able.begin(), able.end(),
                     [this](const raft::PeerStatus& peer) { return group_.transfer(peer.id).has_value(); });
}

void HandOver::end() {
  limit_.stop();
  subscription_.reset();
  if (const loop::Task done = std::exchange(done_, nullptr)) done();
}

}  // namespace limpet::daemon

// A group of servers whose standing and peers the test sets; this one is member 1. Barriers wait for an
// answer.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/consensus.h"

namespace limpet::daemon::test {

class FakeGroup final : public store::Consensus {
 public:
  raft::MemberId self() const override { return 1; }
  const std::string& cluster() const override { return cluster_; }
  raft::Status status() const override { return state; }
  void on_message(std::function<void(raft::MemberId, std::string)>) override {}
  Result<> receive(std::string_view, raft::MemberId) override { return {}; }
  void unreachable(raft::MemberId) override {}
  Subscription on_standing(std::function<void(const raft::Standing&)> f) override {
    told_ = std::move(f);
    return std::shared_ptr<void>(this, [this](void*) { told_ = nullptr; });
  }
  std::optional<Leading> leading() const override { return std::nullopt; }
  bool alone() const override { return is_alone; }
  Result<> reconfigure(const raft::Membership&) override { return {}; }
  Result<> transfer(raft::MemberId to) override {
    asked.push_back(to);
    if (unwilling.contains(to)) return fail(Errc::unavailable, "no");
    return {};
  }
  void barrier(std::function<void(Result<>)> done) override { barriers.push_back(std::move(done)); }

  void become(raft::Role role, raft::Term term, raft::MemberId leader) {
    state.standing = {term, role, leader};
    const auto told = told_;  // it may let go of its subscription
    if (told) told(state.standing);
  }
  void lead(raft::Term term) { become(raft::Role::leader, term, 1); }
  void follow(raft::Term term, raft::MemberId leader = 2) { become(raft::Role::follower, term, leader); }
  bool listened_to() const { return told_ != nullptr; }
  void peer(raft::MemberId id, raft::Index match, bool active) {
    raft::PeerStatus p;
    p.id = id;
    p.match = match;
    p.active = active;
    state.peers.push_back(p);
  }
  void answer(Result<> result) {
    for (const auto& done : std::exchange(barriers, {})) done(result);
  }

  raft::Status state;
  bool is_alone = false;
  std::set<raft::MemberId> unwilling;  // to take the lead
  std::vector<raft::MemberId> asked;   // to take it
  std::vector<std::function<void(Result<>)>> barriers;

 private:
  std::string cluster_ = std::string(16, 'c');
  std::function<void(const raft::Standing&)> told_;
};

}  // namespace limpet::daemon::test

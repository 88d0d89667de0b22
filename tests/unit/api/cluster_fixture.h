// Two API servers of one cluster in one process: each with a store of its own, joined by HTTP over socket
// pairs. What the raft group would do is played: the second store follows the first one commit by commit,
// until it is told to lag; who leads, and whether a barrier holds, is what the test says.
#pragma once

#include "../scripted_store.h"
#include "api/forward_http.h"
#include "fixture.h"
#include "http/server.h"

namespace limpet::api::test {

// What becomes of a request on the way to the leader.
enum class Line { up, refused, silent };

class Cluster;

class Node final : public ClusterAccess, private http::Dialer {
 public:
  Node(Cluster& cluster, const std::function<void(api::Options&)>& change);
  ~Node() override;

  bool leading() const override { return leads; }
  bool leader_known() const override { return known; }
  uint64_t term() const override { return term_now; }
  bool alone() const override { return is_alone; }
  void barrier(std::function<void(Result<>)> done) override;
  std::unique_ptr<Forwarding> forward(http::Request request, ForwardEvents events) override;

  // Its API changes its mind about all of this at once.
  void stand(bool now_leads, uint64_t now_term, bool now_known = true);
  // Every connection from other servers breaks.
  void sever();
  // Connections that were never answered break, too.
  void drop_silent() { silent_.clear(); }
  void settle_barriers();

  Answer ask(Ask ask);
  Answer get(const std::string& target) { return ask({.target = target}); }
  Open open(const Ask& ask);

  bool leads = false, known = true, is_alone = false;
  uint64_t term_now = 5;
  bool quorum = true;  // barriers can be confirmed
  Line line = Line::up;
  Node* leader = nullptr;  // to whom it forwards
  int barriers = 0, forwards = 0;
  std::vector<http::Request> arrived;  // of other servers

  std::optional<Errc> failure;  // of the commits to come; nothing is done
  std::vector<uint64_t> terms;  // of the commits that were asked for, in the durable space

  std::unique_ptr<limpet::test::ScriptedStore> store;
  std::unique_ptr<ApiServer> api;

 private:
  std::unique_ptr<Dial> connect(loop::Loop& loop, const http::Origin& where, int64_t timeout_ms,
                                Done done) override;
  std::unique_ptr<Dial> secure(loop::Loop&, std::unique_ptr<loop::Stream>, const http::Origin&,
                               Done) override {
    return nullptr;  // not asked for
  }
  void script(std::unique_ptr<store::Store> real);
  void listen();

  Cluster& cluster_;
  std::string dir_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Client> client_;
  std::vector<std::unique_ptr<loop::Stream>> silent_;
  struct Waiting {
    store::Revision revision;
    std::function<void(Result<>)> done;
  };
  std::vector<Waiting> waiting_;
};

class Cluster {
 public:
  // Both are started; the first one leads, the second one has what the first one has.
  explicit Cluster(const std::function<void(api::Options&)>& change = nullptr);
  ~Cluster();

  bool until(const std::function<bool()>& condition);
  void turn();
  void turns(int n) {
    for (int i = 0; i < n; ++i) turn();
  }
  void lag(bool on);  // of the second store
  bool caught_up() { return b->store->durable().revision() == a->store->durable().revision(); }

  ManualClock clock;
  SeededRandom random{7};
  loop::Loop loop;
  std::unique_ptr<Node> a, b;

 private:
  std::unique_ptr<store::Watch> feed_;
};

}  // namespace limpet::api::test

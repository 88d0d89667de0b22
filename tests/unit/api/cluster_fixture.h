// Two API servers of one cluster in one process: each with a store of its own, joined by HTTP over socket
// pairs. What the raft group would do is played: the second store follows the first one commit by commit,
// until it is told to lag; who leads, and whether a barrier holds, is what the test says.
#pragma once

#include "api/forward_http.h"
#include "fixture.h"
#include "http/server.h"

namespace limpet::api::test {

// A store whose commits can fail in a given way, and which remembers the terms they carried. They go no
// further: who leads is the test's to say, not the store's.
class ScriptedStore final : public store::Store {
 public:
  explicit ScriptedStore(std::unique_ptr<store::Store> s)
      : durable_(this, s->durable()), transient_(nullptr, s->transient()), store_(std::move(s)) {}
  store::Space& durable() override { return durable_; }
  store::Space& transient() override { return transient_; }
  store::Consensus& consensus() override { return store_->consensus(); }
  void retain(const std::string& prefix, store::Retention r) override { store_->retain(prefix, r); }
  void save(const std::string& name, std::string bytes, std::function<void(Result<>)> done) override {
    store_->save(name, std::move(bytes), std::move(done));
  }
  void load(const std::string& name, std::function<void(Result<std::optional<std::string>>)> done) override {
    store_->load(name, std::move(done));
  }
  void read_state(const std::string& next, std::function<void(Result<store::StatePart>)> done) override {
    store_->read_state(next, std::move(done));
  }
  void close(std::function<void()> done) override { store_->close(std::move(done)); }
  void on_fatal(std::function<void(Error)> f) override { store_->on_fatal(std::move(f)); }
  void on_quiet(std::function<void()> f) override { store_->on_quiet(std::move(f)); }
  store::Stats stats() const override { return store_->stats(); }
  std::string sqlite_version() const override { return store_->sqlite_version(); }
  int64_t last_commit_time() const override { return store_->last_commit_time(); }

  std::optional<Errc> failure;  // of the commits to come; nothing is done
  std::vector<uint64_t> terms;  // of the commits that were asked for

 private:
  class Scripted final : public store::Space {
   public:
    // Without a script only the terms are taken away.
    Scripted(ScriptedStore* script, store::Space& space) : script_(script), space_(space) {}
    void commit(store::Txn txn, std::function<void(Result<store::Committed>)> done) override {
      if (script_) script_->terms.push_back(txn.term);
      txn.term = 0;
      if (script_ && script_->failure) return done(limpet::fail(*script_->failure, "as the test has it"));
      space_.commit(std::move(txn), std::move(done));
    }
    void get(const std::string& key, std::function<void(Result<std::optional<store::Item>>)> done) override {
      space_.get(key, std::move(done));
    }
    void list(const std::string& prefix, const std::string& after, store::Revision revision, size_t limit,
              std::function<void(Result<store::Page>)> done) override {
      space_.list(prefix, after, revision, limit, std::move(done));
    }
    int64_t count(const std::string& prefix) const override { return space_.count(prefix); }
    Result<std::unique_ptr<store::Watch>> watch(const std::string& prefix, store::Revision after,
                                                store::Watch::Sink sink) override {
      return space_.watch(prefix, after, std::move(sink));
    }
    store::Revision revision() const override { return space_.revision(); }
    store::Revision compacted_revision() const override { return space_.compacted_revision(); }

   private:
    ScriptedStore* script_;
    store::Space& space_;
  };

  Scripted durable_, transient_;
  std::unique_ptr<store::Store> store_;
};

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

  std::unique_ptr<ScriptedStore> store;
  std::unique_ptr<ApiServer> api;

 private:
  std::unique_ptr<Dial> connect(loop::Loop& loop, const http::Origin& where, int64_t timeout_ms,
                                Done done) override;
  std::unique_ptr<Dial> secure(loop::Loop&, std::unique_ptr<loop::Stream>, const http::Origin&,
                               Done) override {
    return nullptr;  // not asked for
  }
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

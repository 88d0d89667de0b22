#include "cluster_fixture.h"

#include <stdlib.h>

#include "base/tree.h"

namespace limpet::api::test {
namespace {

// A connection that was had, or not, is told on a later turn.
class LaterDial final : public http::Dialer::Dial {
 public:
  LaterDial(loop::Loop& loop, loop::Task f) : timer_(loop, "dial") { timer_.start(0, std::move(f)); }

 private:
  loop::Timer timer_;
};

}  // namespace

Node::Node(Cluster& cluster, const std::function<void(api::Options&)>& change) : cluster_(cluster) {
  char path[] = "/tmp/limpet-cluster-XXXXXX";
  REQUIRE(mkdtemp(path));
  dir_ = path;
  store::Options options;
  options.path = dir_ + "/db";
  auto opened = store::Store::open(cluster.loop, options, cluster.clock);
  REQUIRE(opened);
  script(std::move(*opened));
  store->retain("events/", {.max_items = 100000, .max_bytes = 64u << 20});
  api::Options o;
  o.cluster_ca_pem = "-----BEGIN CERTIFICATE-----\n";
  o.leader_wait_ms = 150;
  o.fresh_wait_ms = 150;
  if (change) change(o);
  api =
      std::make_unique<ApiServer>(cluster.loop, cluster.clock, cluster.random, *store, std::move(o), nullptr);
  api->set_cluster(this);
  http::Dialer& dialer = *this;
  client_ = std::make_unique<http::Client>(cluster.loop, dialer);
  listen();
}

// Terms go no further: who leads is the test's to say, not the store's.
void Node::script(std::unique_ptr<store::Store> real) {
  store = std::make_unique<limpet::test::ScriptedStore>(std::move(real));
  store->durable().on_commit = [this](store::Txn& txn, limpet::test::ScriptedSpace::Committed& done) {
    terms.push_back(std::exchange(txn.term, 0));
    if (failure) done(limpet::fail(*failure, "as the test has it"));
    return failure.has_value();
  };
  store->transient().on_commit = [](store::Txn& txn, auto&) {
    txn.term = 0;
    return false;
  };
}

Node::~Node() {
  api->stop();
  server_.reset();
  silent_.clear();
  bool closed = false;
  store->close([&] { closed = true; });
  cluster_.until([&] { return closed; });
  api.reset();
  client_.reset();
  store.reset();
  CHECK(remove_tree(dir_).has_value());
}

void Node::listen() {
  server_ = std::make_unique<http::Server>(cluster_.loop, http::ServerOptions{}, [this](http::ExchangePtr e) {
    arrived.push_back(e->request());
    api->handler()(std::move(e));
  });
}

void Node::sever() {
  server_.reset();
  listen();
}

std::unique_ptr<http::Dialer::Dial> Node::connect(loop::Loop& loop, const http::Origin&, int64_t, Done done) {
  if (line == Line::refused) {
    return std::make_unique<LaterDial>(
        loop, [done = std::move(done)] { done(limpet::fail(Errc::unavailable, "connection refused")); });
  }
  auto pair = loop::stream_pair(loop);
  REQUIRE(pair);
  if (line == Line::silent) {
    silent_.push_back(std::move(pair->second));
  } else {
    http::Peer peer;
    peer.kind = http::Peer::Kind::forwarded;
    leader->server_->serve(std::move(pair->second), peer);
  }
  auto mine = std::make_shared<std::unique_ptr<loop::Stream>>(std::move(pair->first));
  return std::make_unique<LaterDial>(loop, [mine, done = std::move(done)] { done(std::move(*mine)); });
}

std::unique_ptr<Forwarding> Node::forward(http::Request request, ForwardEvents events) {
  ++forwards;
  http::Origin origin;
  origin.host = "leader";
  return forward_over_http(*client_, origin, std::move(request), std::move(events), 5000);
}

void Node::barrier(std::function<void(Result<>)> done) {
  ++barriers;
  if (!quorum || !known)
    return done(limpet::fail(Errc::unavailable, "no leader confirmed the read; try again"));
  const Node& from = leads ? *this : *leader;
  waiting_.push_back({from.store->durable().revision(), std::move(done)});
  settle_barriers();
}

void Node::settle_barriers() {
  std::vector<Waiting> all = std::move(waiting_);
  waiting_.clear();
  for (Waiting& w : all) {
    if (store->durable().revision() >= w.revision) {
      w.done({});
    } else {
      waiting_.push_back(std::move(w));
    }
  }
}

void Node::stand(bool now_leads, uint64_t now_term, bool now_known) {
  leads = now_leads;
  term_now = now_term;
  known = now_known;
  api->leadership_changed();
}

Answer Node::ask(Ask ask) {
  std::shared_ptr<Answer> answer;
  {
    Open o = open(ask);
    answer = o.answer;
  }
  REQUIRE(cluster_.until([&] { return answer->over; }));
  return std::move(*answer);
}

Open Node::open(const Ask& ask) { return open_at(cluster_.loop, *api, ask); }

Cluster::Cluster(const std::function<void(api::Options&)>& change) {
  a = std::make_unique<Node>(*this, change);
  b = std::make_unique<Node>(*this, change);
  a->leader = b->leader = a.get();
  a->leads = true;
  lag(false);
  int started = 0;
  for (Node* n : {a.get(), b.get()}) {
    n->api->start([&](Result<> r) {
      REQUIRE(r);
      ++started;
    });
  }
  REQUIRE(until([&] { return started == 2 && caught_up(); }));
  a->barriers = b->barriers = 0;
  a->terms.clear();
}

Cluster::~Cluster() {
  feed_.reset();
  b.reset();
  a.reset();
}

void Cluster::turn() {
  loop::Timer wake(loop, "test");
  wake.start(1, [this] { loop.stop(); });
  loop.run();
}

bool Cluster::until(const std::function<bool()>& condition) {
  for (int i = 0; i < 20000; ++i) {
    if (condition()) return true;
    turn();
  }
  return condition();
}

void Cluster::lag(bool on) {
  feed_.reset();
  if (on) return;
  store::Watch::Sink sink;
  sink.on_events = [this](std::span<const store::Event> events) {
    for (size_t i = 0; i < events.size();) {
      store::Txn txn;
      const store::Revision revision = events[i].revision;
      for (; i < events.size() && events[i].revision == revision; ++i) {
        const bool gone = events[i].type == store::Event::Type::deleted;
        txn.ops.push_back({gone ? store::Op::Type::remove : store::Op::Type::put, events[i].key,
                           gone ? std::string() : std::string(*events[i].value), std::nullopt});
      }
      b->store->durable().commit(std::move(txn), [this, revision](Result<store::Committed> c) {
        REQUIRE(c);
        REQUIRE(c->revision == revision);
        loop.defer([this] {
          if (b) b->settle_barriers();
        });
      });
    }
  };
  sink.on_lost = [](Error e) { FAIL(e.message); };
  auto watch = a->store->durable().watch("", b->store->durable().revision(), std::move(sink));
  REQUIRE(watch);
  feed_ = std::move(*watch);
}

}  // namespace limpet::api::test

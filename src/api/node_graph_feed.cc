#include "api/node_graph_feed.h"

#include "store/consensus.h"

namespace limpet::api {
namespace {

constexpr const char* kPrefix = "pods/";
constexpr size_t kPage = 50;  // read in one go: some tens of microseconds for each
constexpr int64_t kRetryMs = 1000;
constexpr int64_t kLookMs = 1;  // the watch is told in a later turn of the loop than the write is done

}  // namespace

struct NodeGraphFeed::Load {
  NodeGraph graph;
  store::Revision revision = 0;
  std::string after;
};

NodeGraphFeed::NodeGraphFeed(Core& core)
    : core_(core), reload_(core.loop, "node graph"), look_(core.loop, "node graph wait") {}

NodeGraphFeed::~NodeGraphFeed() { stop(); }

void NodeGraphFeed::start() { load(); }

void NodeGraphFeed::stop() {
  alive_.reset();
  watch_.reset();
  reload_.stop();
  look_.stop();
  for (Waiting& w : std::exchange(waiting_, {})) w.f(fail(Errc::unavailable, "the server is shutting down"));
}

// What was known goes on to be used until the new graph is whole.
void NodeGraphFeed::load() { next_page(std::make_shared<Load>()); }

void NodeGraphFeed::next_page(std::shared_ptr<Load> load) {
  core_.store.durable().list(kPrefix, load->after, load->revision, kPage,
                             guarded([this, load](Result<store::Page> page) {
                               if (!page) return reload_.start(kRetryMs, [this] { this->load(); });
                               load->revision = page->revision;
                               for (const store::Item& item : page->items) {
                                 load->after = item.key;
                                 load->graph.add(*item.value);
                               }
                               if (page->more)
                                 return core_.loop.defer(guarded([this, load] { next_page(load); }));
                               graph_ = std::move(load->graph);
                               follow(load->revision);
                             }));
}

void NodeGraphFeed::follow(store::Revision after) {
  store::Watch::Sink sink;
  sink.on_events = guarded([this](std::span<const store::Event> events) {
    for (const store::Event& e : events) on_event(e);
    look();
  });
  sink.on_lost = guarded([this](Error) {
    watch_.reset();
    core_.loop.defer(guarded([this] { load(); }));
  });
  Result<std::unique_ptr<store::Watch>> w = core_.store.durable().watch(kPrefix, after, std::move(sink));
  if (!w) return reload_.start(kRetryMs, [this] { load(); });
  watch_ = std::move(*w);
  look();
}

void NodeGraphFeed::on_event(const store::Event& e) {
  using Type = store::Event::Type;
  if (e.type == Type::created) return graph_.add(*e.value);
  if (e.type == Type::deleted) return graph_.change(*e.value, {});
  // Most changes are of status.
  json::Cursor before(*e.previous), now(*e.value);
  if (before["spec"].raw() == now["spec"].raw() && is_mirror_pod(before) == is_mirror_pod(now)) return;
  graph_.change(*e.previous, *e.value);
}

void NodeGraphFeed::catch_up(std::function<void(Result<>)> f) {
  if (!alive_) return f(fail(Errc::unavailable, "the server is shutting down"));
  core_.store.consensus().barrier([this, alive = std::weak_ptr<int>(alive_), f = std::move(f)](Result<> r) {
    if (alive.expired()) return f(fail(Errc::unavailable, "the server is shutting down"));
    if (!r) return f(std::unexpected(r.error()));
    wait(core_.store.durable().revision(), f);
  });
}

void NodeGraphFeed::wait(store::Revision revision, std::function<void(Result<>)> f) {
  waiting_.push_back({revision, std::move(f)});
  look();
}

void NodeGraphFeed::look() {
  if (!watch_) return;  // the end of the list looks again
  const store::Revision seen = watch_->position();
  std::list<Waiting> there;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const auto next = std::next(it);
    if (it->revision <= seen) there.splice(there.end(), waiting_, it);
    it = next;
  }
  if (!waiting_.empty()) look_.start(kLookMs, [this] { look(); });
  for (Waiting& w : there) w.f({});
}

}  // namespace limpet::api

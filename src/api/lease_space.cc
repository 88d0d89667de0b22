#include "api/lease_space.h"

#include "api/object.h"
#include "base/json.h"

namespace limpet::api {
namespace {

constexpr const char* kPrefix = "leases.coordination.k8s.io/";
constexpr std::string_view kNodePrefix = "leases.coordination.k8s.io/kube-node-lease/";
constexpr const char* kNodes = "nodes/";
constexpr int kTermBits = 32;
constexpr int64_t kFirstDurationS = 40;  // of a lease whose device has not been heard of

bool volatile_key(std::string_view key) { return key.starts_with(kNodePrefix); }

std::string lease_key(std::string_view node) { return std::string(kNodePrefix).append(node); }

// Whether two states of a lease differ in no more than when it was renewed.
bool only_renewed(std::string_view before, std::string_view now) {
  Result<json::Value> a = json::parse(before), b = json::parse(now);
  if (!a || !b) return false;
  for (json::Value* v : {&*a, &*b}) {
    v->ref()["spec"].remove("renewTime");
    v->ref()["metadata"].remove("managedFields");
  }
  return a->ref().equals(b->ref());
}

std::string node_lease(std::string_view metadata, std::string_view node, int64_t duration_s,
                       std::string_view renewed) {
  json::Writer w;
  w.begin_object().field("kind", "Lease").field("apiVersion", "coordination.k8s.io/v1");
  w.key("metadata").raw(metadata);
  w.key("spec").begin_object().field("holderIdentity", node).field("leaseDurationSeconds", duration_s);
  if (!renewed.empty()) w.field("renewTime", renewed);
  w.end_object().end_object();
  return w.take();
}

}  // namespace

struct LeaseSpace::Load {
  int64_t term = 0;
  store::Revision leases = 0, nodes = 0;
  std::string after;
  std::set<std::string> found;  // keys of leases that have a reason to be
};

bool LeaseSpace::holds(const schema::Resource& r) {
  return r.group() == "coordination.k8s.io" && r.plural() == "leases";
}

// What is over the bounds of the space would push out the oldest: the bounds here come first.
LeaseSpace::LeaseSpace(loop::Loop& loop, Clock& clock, Random& random, store::Store& store)
    : loop_(loop), clock_(clock), random_(random), store_(store) {
  store_.retain(kPrefix, {.max_items = 2 * kMaxItems, .max_bytes = 3 * kMaxBytes, .ttl_ms = 0});
}

LeaseSpace::~LeaseSpace() = default;

void LeaseSpace::stop() {
  alive_.reset();
  leases_.reset();
  nodes_.reset();
  const Error stopping{Errc::unavailable, "the server is shutting down", 0};
  for (auto& f : std::exchange(waiting_for_load_, {})) f(std::unexpected(stopping));
  for (Write& w : std::exchange(waiting_, {})) w.done(std::unexpected(stopping));
}

int64_t LeaseSpace::term() const { return memory().revision() >> kTermBits; }

// The volatile space answers at once.
std::optional<store::Item> LeaseSpace::now(const std::string& key) const {
  std::optional<store::Item> item;
  memory().get(key, [&item](Result<std::optional<store::Item>> got) {
    if (got) item = std::move(*got);
  });
  return item;
}

// A member that does not lead keeps nothing volatile.
Result<> LeaseSpace::usable() const {
  Result<> r;
  memory().get(kPrefix, [&r](Result<std::optional<store::Item>> got) {
    if (!got) r = std::unexpected(got.error());
  });
  return r;
}

// ---- reading what is durable

void LeaseSpace::ensure(std::function<void(Result<>)> f) {
  if (!alive_) return f(fail(Errc::unavailable, "the server is shutting down"));
  if (Result<> leads = usable(); !leads) return f(std::move(leads));
  if (loaded_term_ == term()) return f({});
  waiting_for_load_.push_back(std::move(f));
  if (std::exchange(loading_, true)) return;
  leases_.reset();
  nodes_.reset();
  auto load = std::make_shared<Load>();
  load->term = term();
  if (memory().count(kPrefix) == 0) durable_.clear();
  load_leases(std::move(load));
}

void LeaseSpace::load_leases(std::shared_ptr<Load> load) {
  store_.durable().list(kPrefix, load->after, load->leases, 0,
                        guarded([this, load](Result<store::Page> page) {
                          if (!page) return loaded(std::unexpected(page.error()));
                          load->leases = page->revision;
                          for (const store::Item& item : page->items) {
                            load->after = item.key;
                            if (volatile_key(item.key)) continue;
                            load->found.insert(item.key);
                            take(item.key, item.mod_revision, *item.value);
                          }
                          if (page->more) return loop_.defer(guarded([this, load] { load_leases(load); }));
                          load->after.clear();
                          load_nodes(load);
                        }));
}

void LeaseSpace::load_nodes(std::shared_ptr<Load> load) {
  store_.durable().list(kNodes, load->after, load->nodes, 0, guarded([this, load](Result<store::Page> page) {
                          if (!page) return loaded(std::unexpected(page.error()));
                          load->nodes = page->revision;
                          for (const store::Item& item : page->items) {
                            load->after = item.key;
                            const std::string node = item.key.substr(sizeof "nodes/" - 1);
                            load->found.insert(lease_key(node));
                            make_node_lease(node, json::Cursor(*item.value));
                          }
                          if (page->more) return loop_.defer(guarded([this, load] { load_nodes(load); }));
                          remove_others(*load);
                          Result<> r = follow(*load);
                          if (r) loaded_term_ = load->term;
                          loaded(std::move(r));
                        }));
}

// Durable state that memory does not hold yet. What it holds already may have been renewed since.
void LeaseSpace::take(const std::string& key, store::Revision revision, const std::string& value) {
  const auto known = durable_.find(key);
  if (known != durable_.end() && revision <= known->second && now(key)) return;
  durable_[key] = revision;
  put(key, value);
}

// What went while nobody watched: durable leases, and those of Nodes.
void LeaseSpace::remove_others(const Load& load) {
  std::vector<std::string> gone;
  each_in_memory([&](const store::Item& item) {
    if (load.found.contains(item.key)) return;
    json::Cursor owner = json::Cursor(*item.value)["metadata"]["ownerReferences"].at(0);
    if (!volatile_key(item.key) || owner["kind"].str_equals("Node")) gone.push_back(item.key);
  });
  for (const std::string& key : gone) {
    durable_.erase(key);
    remove(key);
  }
}

// Who waited goes on; where the term changed meanwhile, with the next load.
void LeaseSpace::loaded(Result<> r) {
  loading_ = false;
  for (auto& f : std::exchange(waiting_for_load_, {})) {
    if (!r) {
      f(std::unexpected(r.error()));
    } else {
      ensure(std::move(f));
    }
  }
}

Result<> LeaseSpace::follow(const Load& load) {
  auto sink = [this](void (LeaseSpace::*f)(const store::Event&)) {
    store::Watch::Sink s;
    s.on_events = guarded([this, f](std::span<const store::Event> events) {
      for (const store::Event& e : events) (this->*f)(e);
    });
    // What was missed is read with everything else at the next use.
    s.on_lost = guarded([this](Error) { loaded_term_ = -1; });
    return s;
  };
  TRY(leases_, store_.durable().watch(kPrefix, load.leases, sink(&LeaseSpace::on_lease)));
  TRY(nodes_, store_.durable().watch(kNodes, load.nodes, sink(&LeaseSpace::on_node)));
  return {};
}

void LeaseSpace::put(const std::string& key, std::string value, std::optional<store::Revision> expect) {
  store::Txn txn;
  txn.ops.push_back({store::Op::Type::put, key, std::move(value), expect});
  memory().commit(std::move(txn), [](Result<store::Committed>) {});
}

void LeaseSpace::remove(const std::string& key) {
  store::Txn txn;
  txn.ops.push_back({store::Op::Type::remove, key, "", std::nullopt});
  memory().commit(std::move(txn), [](Result<store::Committed>) {});
}

void LeaseSpace::each_in_memory(const std::function<void(const store::Item&)>& f) const {
  std::string after;
  for (bool more = true; more;) {
    more = false;
    memory().list(kPrefix, after, 0, 0, [&](Result<store::Page> page) {
      if (!page) return;
      for (const store::Item& item : page->items) f(item);
      more = page->more && !page->items.empty();
      if (more) after = page->items.back().key;
    });
  }
}

// A durable write that was not ours, or whose end we did not hear of in time: memory follows.
void LeaseSpace::on_lease(const store::Event& e) {
  if (volatile_key(e.key) || busy_.contains(e.key)) return;
  if (e.type != store::Event::Type::deleted) return take(e.key, e.revision, *e.value);
  const auto known = durable_.find(e.key);
  if (known != durable_.end() && e.revision <= known->second) return;
  durable_.erase(e.key);
  remove(e.key);
}

void LeaseSpace::on_node(const store::Event& e) {
  const std::string node = e.key.substr(sizeof "nodes/" - 1);
  if (e.type == store::Event::Type::created) make_node_lease(node, json::Cursor(*e.value));
  if (e.type == store::Event::Type::deleted) remove(lease_key(node));
}

void LeaseSpace::make_node_lease(const std::string& node, json::Cursor object) {
  json::Writer m;
  m.begin_object().field("name", node).field("namespace", "kube-node-lease").field("uid", random_.uuid());
  m.field("creationTimestamp", rfc3339(clock_.wall()));
  m.key("ownerReferences").begin_array().begin_object();
  m.field("apiVersion", "v1").field("kind", "Node").field("name", node);
  m.field("uid", object["metadata"]["uid"].str()).end_object().end_array().end_object();
  put(lease_key(node), node_lease(m.text(), node, kFirstDurationS, ""), 0);  // one that is there stays
}

// ---- heartbeats

void LeaseSpace::renew(const std::string& node, int64_t duration_s, std::function<void(Result<>)> done) {
  ensure([this, node, duration_s, done = std::move(done)](Result<> r) {
    if (!r) return done(std::move(r));
    if (renew_known(node, duration_s)) return done({});
    // The Node may be so new that the watch has not told of it, or somebody deleted the lease.
    store_.durable().get(kNodes + node,
                         guarded([this, node, duration_s, done](Result<std::optional<store::Item>> got) {
                           if (!got) return done(std::unexpected(got.error()));
                           if (!*got) return done(fail(Errc::not_found, "there is no Node " + node));
                           make_node_lease(node, json::Cursor(*(*got)->value));
                           if (renew_known(node, duration_s)) return done({});
                           done(fail(Errc::unavailable, "the lease of " + node + " cannot be kept"));
                         }));
  });
}

bool LeaseSpace::renew_known(const std::string& node, int64_t duration_s) {
  const auto lease = now(lease_key(node));
  if (!lease) return false;
  put(lease_key(node), node_lease(json::Cursor(*lease->value)["metadata"].raw(), node, duration_s,
                                  rfc3339_micro(clock_.wall())));
  return true;
}

// ---- writing

void LeaseSpace::commit(store::Txn txn, std::function<void(Result<store::Committed>)> done) {
  ensure([this, txn = std::move(txn), done = std::move(done)](Result<> r) mutable {
    if (!r) return done(std::unexpected(r.error()));
    run({std::move(txn), std::move(done)});
  });
}

// The durable write first, as it is the one that can fail; meanwhile nothing else touches those keys.
void LeaseSpace::run(Write w) {
  for (const store::Op& op : w.txn.ops) {
    if (busy_.contains(op.key)) return waiting_.push_back(std::move(w));
  }
  Result<> good = holds_still(w.txn);
  if (good) good = fits(w.txn);
  if (!good) return w.done(std::unexpected(good.error()));
  store::Txn durable = durable_part(w.txn);
  if (durable.ops.empty()) return memory().commit(std::move(w.txn), std::move(w.done));
  std::vector<std::string> keys;
  for (const store::Op& op : durable.ops) keys.push_back(op.key);
  busy_.insert(keys.begin(), keys.end());
  auto shared = std::make_shared<Write>(std::move(w));
  store_.durable().commit(std::move(durable), guarded([this, keys, shared](Result<store::Committed> c) {
                            for (const std::string& key : keys) {
                              busy_.erase(key);
                              if (c) durable_[key] = c->revision;
                            }
                            if (c) {
                              memory().commit(std::move(shared->txn), std::move(shared->done));
                            } else {
                              loaded_term_ =
                                  -1;  // it may have been done all the same: read again what there is
                              shared->done(std::unexpected(c.error()));
                            }
                            run_waiting();
                          }));
}

void LeaseSpace::run_waiting() {
  for (Write& w : std::exchange(waiting_, {})) run(std::move(w));
}

Result<> LeaseSpace::holds_still(const store::Txn& txn) const {
  for (const store::Op& op : txn.ops) {
    const auto item = now(op.key);
    if (op.expect && *op.expect != (item ? item->mod_revision : 0))
      return fail(Errc::conflict, op.key + " has changed");
  }
  return {};
}

// Counted only where something is added: a renewal adds nothing.
Result<> LeaseSpace::fits(const store::Txn& txn) const {
  size_t more = 0, bytes = 0, items = 0;
  for (const store::Op& op : txn.ops) {
    if (op.type != store::Op::Type::put) continue;
    const auto item = now(op.key);
    const size_t before = item ? item->value->size() : 0;
    if (op.value.size() > before) more += op.value.size() - before;
    if (!item) ++items;
  }
  if (more == 0) return {};
  each_in_memory([&](const store::Item& item) {
    bytes += item.value->size();
    ++items;
  });
  if (items <= kMaxItems && bytes + more <= kMaxBytes) return {};
  return fail(Errc::exhausted,
              strf("leases may be %zu, of %zu bytes together: delete some", kMaxItems, kMaxBytes));
}

store::Txn LeaseSpace::durable_part(const store::Txn& txn) const {
  store::Txn out;
  out.term = txn.term;
  for (const store::Op& op : txn.ops) {
    if (volatile_key(op.key)) continue;
    const auto item = now(op.key);
    if (op.type == store::Op::Type::put && item && only_renewed(*item->value, op.value)) continue;
    out.ops.push_back({op.type, op.key, op.value, std::nullopt});
  }
  return out;
}

// ---- reading

void LeaseSpace::get(const std::string& key, std::function<void(Result<std::optional<store::Item>>)> done) {
  ensure([this, key, done = std::move(done)](Result<> r) {
    if (!r) return done(std::unexpected(r.error()));
    memory().get(key, done);
  });
}

void LeaseSpace::list(const std::string& prefix, const std::string& after, store::Revision revision,
                      size_t limit, std::function<void(Result<store::Page>)> done) {
  ensure([this, prefix, after, revision, limit, done = std::move(done)](Result<> r) {
    if (!r) return done(std::unexpected(r.error()));
    memory().list(prefix, after, revision, limit, done);
  });
}

int64_t LeaseSpace::count(const std::string& prefix) const { return memory().count(prefix); }

Result<std::unique_ptr<store::Watch>> LeaseSpace::watch(const std::string& prefix, store::Revision after,
                                                        store::Watch::Sink sink) {
  return memory().watch(prefix, after, std::move(sink));
}

store::Revision LeaseSpace::revision() const { return memory().revision(); }
store::Revision LeaseSpace::compacted_revision() const { return memory().compacted_revision(); }

}  // namespace limpet::api

#include "store/transient.h"

#include <algorithm>
#include <set>

#include "base/assert.h"
#include "store/entry.h"

namespace limpet::store {
namespace {
constexpr int kTermBits = 32;
constexpr size_t kPageItems = 200;
constexpr int64_t kExpireEveryMs = 30000;
constexpr size_t kQuietHistoryBytes = 64u << 10;
constexpr int64_t kHistoryMs = 300'000;
}  // namespace

Transient::Transient(loop::Loop& loop)
    : loop_(loop), hub_(loop, {4096, 1u << 20}, 0, nullptr), timer_(loop, "store-expire") {
  classes_.push_back(std::make_unique<Class>());
}

void Transient::begin(raft::Term term) {
  if (term_ == term) return;
  end();
  term_ = term;
  forget(static_cast<Revision>(term) << kTermBits, "this server leads anew");
}

void Transient::end() {
  if (term_ == 0) return;
  term_ = 0;
  timer_.stop();
  forget(hub_.now(), "this server does not lead any more, and what only the leader keeps is gone");
}

void Transient::forget(Revision revision, const char* why) {
  for (const auto& c : classes_) {
    c->by_age.clear();
    c->bytes = 0;
  }
  map_.clear();
  hub_.begin_anew(revision, why);
}

Result<> Transient::usable() const {
  if (stopped_) return fail(Errc::unavailable, "the store is closing");
  if (term_ == 0)
    return fail(Errc::unavailable,
                "only the server that leads keeps events and leases; this one does not lead");
  return {};
}

void Transient::shorten_history() {
  shortened_ms_ = loop_.now_ms();
  hub_.shorten(kQuietHistoryBytes);
}

// Items that are there already stay where they were counted: retentions are set at start.
void Transient::retain(const std::string& prefix, Retention retention) {
  for (const auto& c : classes_) {
    if (c->prefix == prefix) {
      c->keep = retention;
      return arm();
    }
  }
  LIMPET_ASSERT(count(prefix) == 0);
  auto c = std::make_unique<Class>();
  c->prefix = prefix;
  c->keep = retention;
  classes_.insert(classes_.begin(), std::move(c));
  arm();
}

Transient::Class& Transient::class_of(std::string_view key) {
  for (const auto& c : classes_) {
    if (key.starts_with(c->prefix)) return *c;
  }
  return *classes_.back();
}

Result<> Transient::check(const Txn& txn) const {
  for (const Op& op : txn.ops) {
    if (!op.expect) continue;
    const auto it = map_.find(op.key);
    const Revision now = it == map_.end() ? 0 : it->second.revision;
    if (now == *op.expect) continue;
    if (*op.expect == 0) return fail(Errc::conflict, op.key + " exists");
    if (now == 0) return fail(Errc::conflict, op.key + " does not exist");
    return fail(Errc::conflict, strf("%s has revision %lld, not %lld", op.key.c_str(),
                                     static_cast<long long>(now), static_cast<long long>(*op.expect)));
  }
  return {};
}

void Transient::commit(Txn txn, std::function<void(Result<Committed>)> done) {
  if (const auto ok = usable(); !ok) return done(std::unexpected(ok.error()));
  if (txn.term != 0 && txn.term != term_) {
    return done(
        fail(Errc::unavailable,
             strf("decided in term %llu, and this is term %llu: not written, decide again",
                  static_cast<unsigned long long>(txn.term), static_cast<unsigned long long>(term_))));
  }
  if (const auto entry = encode_entry(txn, 0); !entry) return done(std::unexpected(entry.error()));
  if (const auto ok = check(txn); !ok) return done(std::unexpected(ok.error()));
  std::vector<Event> events;
  Revision revision = hub_.now() + 1;
  std::set<Class*> touched;
  for (Op& op : txn.ops) {
    if (op.type == Op::Type::put) {
      put(op.key, std::move(op.value), revision, events);
      touched.insert(&class_of(op.key));
    } else if (const auto it = map_.find(op.key); it != map_.end()) {
      remove(it, revision, events);
    }
  }
  const Committed committed{events.empty() ? hub_.now() : revision};
  for (Class* c : touched) shrink(*c, events, revision);
  if (!events.empty()) hub_.publish(std::move(events), revision);
  // What comes at a trickle (the heartbeats of an idle device) never fills more than the little that is
  // always kept.
  if (loop_.now_ms() - shortened_ms_ > kHistoryMs) shorten_history();
  if (!touched.empty()) arm();
  done(committed);
}

void Transient::put(const std::string& key, std::string value, Revision revision,
                    std::vector<Event>& events) {
  Class& c = class_of(key);
  const auto [it, fresh] = map_.try_emplace(key);
  Slot& slot = it->second;
  Event e;
  e.type = fresh ? Event::Type::created : Event::Type::modified;
  e.key = key;
  e.revision = revision;
  e.previous = slot.value;
  if (!fresh) {
    c.by_age.erase(slot.order);
    c.bytes -= key.size() + slot.value->size();
  }
  slot.created = fresh ? revision : slot.created;
  slot.revision = revision;
  slot.order = ++order_;
  slot.changed_ms = loop_.now_ms();
  slot.value = share(std::move(value));
  e.value = slot.value;
  c.by_age.emplace(slot.order, it);
  c.bytes += key.size() + slot.value->size();
  events.push_back(std::move(e));
}

void Transient::remove(Map::iterator it, Revision revision, std::vector<Event>& events) {
  Class& c = class_of(it->first);
  c.by_age.erase(it->second.order);
  c.bytes -= it->first.size() + it->second.value->size();
  events.push_back({Event::Type::deleted, it->first, revision, it->second.value, nullptr});
  map_.erase(it);
}

// What is over the bound goes, in a transaction of its own; the newest change always stays.
void Transient::shrink(Class& c, std::vector<Event>& events, Revision& revision) {
  const auto over = [&] {
    return c.by_age.size() > 1 && (c.by_age.size() > c.keep.max_items || c.bytes > c.keep.max_bytes);
  };
  if (!over()) return;
  ++revision;
  while (over()) remove(c.by_age.begin()->second, revision, events);
}

void Transient::expire() {
  std::vector<Event> events;
  const Revision revision = hub_.now() + 1;
  constexpr size_t kAtOnce = 500;
  for (const auto& c : classes_) {
    if (c->keep.ttl_ms <= 0) continue;
    while (!c->by_age.empty() && events.size() < kAtOnce) {
      const auto it = c->by_age.begin()->second;
      if (it->second.changed_ms + c->keep.ttl_ms > loop_.now_ms()) break;
      remove(it, revision, events);
    }
  }
  if (!events.empty()) hub_.publish(std::move(events), revision);
  arm();
}

// Armed only while something can expire: an idle device does not wake for it.
void Transient::arm() {
  if (timer_.active() || stopped_) return;
  int64_t first = INT64_MAX;
  for (const auto& c : classes_) {
    if (c->keep.ttl_ms <= 0 || c->by_age.empty()) continue;
    first = std::min(first, c->by_age.begin()->second->second.changed_ms + c->keep.ttl_ms);
  }
  if (first == INT64_MAX) return;
  timer_.start(std::clamp<int64_t>(first - loop_.now_ms(), 1, kExpireEveryMs), [this] { expire(); });
}

void Transient::get(const std::string& key, std::function<void(Result<std::optional<Item>>)> done) {
  if (term_ == 0) return done(std::unexpected(usable().error()));
  const auto it = map_.find(key);
  if (it == map_.end()) return done(std::optional<Item>());
  done(std::optional<Item>(Item{key, it->second.created, it->second.revision, it->second.value}));
}

Result<> Transient::readable(Revision revision) const {
  if (revision > hub_.now()) {
    return fail(Errc::invalid_argument,
                strf("revision %lld is of the future, the newest is %lld", static_cast<long long>(revision),
                     static_cast<long long>(hub_.now())));
  }
  if (revision < hub_.floor()) {
    return fail(Errc::expired, strf("revision %lld is no longer kept", static_cast<long long>(revision)));
  }
  return {};
}

// The present with every later event undone, newest first. Revisions of values that were replaced are not
// kept: such an item carries the revision that was asked for, at which it was current.
std::map<std::string, Item> Transient::view_at(const std::string& prefix, Revision revision) const {
  std::map<std::string, Item> view;
  for (auto it = map_.lower_bound(prefix); it != map_.end() && it->first.starts_with(prefix); ++it) {
    view[it->first] = {it->first, it->second.created, it->second.revision, it->second.value};
  }
  for (auto e = hub_.ring().rbegin(); e != hub_.ring().rend() && e->revision > revision; ++e) {
    if (!e->key.starts_with(prefix)) continue;
    if (e->type == Event::Type::created) {
      view.erase(e->key);
    } else {
      const SharedBytes& before = e->type == Event::Type::deleted ? e->value : e->previous;
      const auto was = view.find(e->key);
      const Revision created = was == view.end() ? revision : was->second.create_revision;
      view[e->key] = {e->key, created, revision, before};
    }
  }
  return view;
}

void Transient::list(const std::string& prefix, const std::string& after, Revision revision, size_t limit,
                     std::function<void(Result<Page>)> done) {
  if (term_ == 0) return done(std::unexpected(usable().error()));
  limit = limit == 0 ? kPageItems : std::min(limit, kPageItems);
  Page page;
  page.revision = revision == 0 ? hub_.now() : revision;
  const auto take = [&](const std::string& key, auto&& item) {
    if (key <= after && !after.empty()) return;
    if (page.items.size() < limit) {
      page.items.push_back(item());
    } else {
      ++page.remaining;
    }
  };
  if (page.revision != hub_.now()) {
    if (const auto ok = readable(page.revision); !ok) return done(std::unexpected(ok.error()));
    for (const auto& [key, item] : view_at(prefix, page.revision)) take(key, [&i = item] { return i; });
  } else {
    for (auto it = map_.lower_bound(prefix); it != map_.end() && it->first.starts_with(prefix); ++it) {
      take(it->first,
           [&] { return Item{it->first, it->second.created, it->second.revision, it->second.value}; });
    }
  }
  page.more = page.remaining > 0;
  done(std::move(page));
}

int64_t Transient::count(const std::string& prefix) const {
  int64_t n = 0;
  for (auto it = map_.lower_bound(prefix); it != map_.end() && it->first.starts_with(prefix); ++it) ++n;
  return n;
}

Result<std::unique_ptr<Watch>> Transient::watch(const std::string& prefix, Revision after, Watch::Sink sink) {
  if (term_ == 0) return std::unexpected(usable().error());
  return hub_.watch(prefix, after, std::move(sink));
}

}  // namespace limpet::store

// Those who watch everything: whatever becomes of the server that they watch at, each revision is told once,
// in order, with what it replaced, and is the same one everywhere.
#include "base/result.h"
#include "whole.h"

namespace sim {

using namespace limpet;
using ull = unsigned long long;
using store::Event;

namespace {

std::string short_value(const SharedBytes& bytes) {
  return bytes ? strf("%s(%zu)", bytes->substr(0, bytes->find(' ')).c_str(), bytes->size()) : "-";
}

std::string text(const Event& e) {
  const char* const types[] = {"made", "changed", "removed"};
  return strf("%s %s %s before %s; ", types[static_cast<int>(e.type)], e.key.c_str(),
              short_value(e.value).c_str(), short_value(e.previous).c_str());
}

std::string text(const Viewer& v) {
  std::string out;
  for (const auto& [key, item] : v.state)
    out += strf("%s %lld ", key.c_str(), static_cast<long long>(item.first)) +
           short_value(share(std::string(item.second))) + "; ";
  return out;
}

}  // namespace

void Whole::attach(Viewer& v) {
  const uint64_t number = ++v.attached;
  v.watch.reset();
  v.at = nullptr;
  clock_.after(clock_.between(1, 500) * kMs, [this, &v, number] {
    if (v.attached != number) return;
    Device* const d = some();
    if (!d) return attach(v);
    v.at = d;
    d->process->turn([&] {
      if (!v.lists) return follow(v, *d);
      d->store->durable().list("", "", 0, 200,
                               [this, &v, d, number, process = d->process](Result<store::Page> page) {
                                 if (v.attached != number || !process->alive()) return;
                                 if (!page || page->more || page->revision < v.last)
                                   return attach(v);  // it is behind
                                 listed(v, *d, *page);
                               });
    });
  });
}

void Whole::listed(Viewer& v, Device& d, const store::Page& page) {
  v.state.clear();
  for (const store::Item& item : page.items) v.state[item.key] = {item.mod_revision, *item.value};
  v.last = page.revision;
  v.lists = false;
  say(strf("viewer %zu lists at %zu: revision %lld", v.number, d.number, static_cast<long long>(v.last)));
  check_state(v, "a list");
  follow(v, d);
}

void Whole::follow(Viewer& v, Device& d) {
  const uint64_t number = v.attached;
  store::Watch::Sink sink;
  sink.on_events = [this, &v, number, process = d.process](std::span<const Event> events) {
    if (v.attached == number && process->alive()) told(v, events);
  };
  sink.on_lost = [this, &v, number, process = d.process](const Error& e) {
    if (v.attached != number || !process->alive()) return;
    say(strf("viewer %zu has lost its watch: %s", v.number, e.message.c_str()));
    // Also while the file that it reads from is about to be another one.
    const bool known = e.code == Errc::expired || e.code == Errc::unavailable;
    if (!known && !process->fired()) breach("a watch is lost: " + e.message);
    lost(v, e.code == Errc::expired);
  };
  auto watch = d.store->durable().watch("", v.last, std::move(sink));
  if (watch) {
    v.watch = std::move(*watch);
    return;
  }
  if (watch.error().code == Errc::expired) v.lists = true;
  attach(v);
}

// The handle ends outside of its own call.
void Whole::lost(Viewer& v, bool expired) {
  v.lists = v.lists || expired;
  ++v.attached;
  clock_.after(0, [this, &v] { attach(v); });
}

void Whole::told(Viewer& v, std::span<const Event> events) {
  for (size_t i = 0; i < events.size();) {
    const store::Revision revision = events[i].revision;
    if (revision != v.last + 1) {
      return breach(strf("viewer %zu is told of revision %lld after %lld", v.number,
                         static_cast<long long>(revision), static_cast<long long>(v.last)));
    }
    std::string all;
    for (; i < events.size() && events[i].revision == revision; ++i) {
      all += text(events[i]);
      one(v, events[i]);
    }
    const auto [it, first] = told_.emplace(revision, all);
    if (!first && it->second != all) {
      return breach(strf("revision %lld is '%s' and '%s'", static_cast<long long>(revision),
                         it->second.c_str(), all.c_str()));
    }
    v.last = revision;
    check_state(v, "a watch");
  }
  say(strf("viewer %zu has seen %lld", v.number, static_cast<long long>(v.last)));
}

void Whole::one(Viewer& v, const Event& e) {
  ++seen;
  const auto held = v.state.find(e.key);
  const bool there = held != v.state.end();
  if (there != (e.type != Event::Type::created))
    breach("an event that does not follow the state: " + text(e));
  const SharedBytes& before = e.type == Event::Type::deleted ? e.value : e.previous;
  if (there && (!before || *before != held->second.second))
    breach("an event with another value before: " + text(e));
  if (e.type == Event::Type::deleted) {
    v.state.erase(e.key);
  } else {
    v.state[e.key] = {e.revision, *e.value};
  }
}

void Whole::check_state(const Viewer& v, const std::string& where) {
  const auto [it, first] = states_.emplace(v.last, text(v));
  if (!first && it->second != text(v)) {
    breach(strf("after revision %lld there is '%s', and by %s '%s'", static_cast<long long>(v.last),
                it->second.c_str(), where.c_str(), text(v).c_str()));
  }
}

// A bookmark says that everything up to it was told.
void Whole::check_positions() {
  for (const auto& v : viewers_) {
    if (!v->watch || !v->at->asked()) continue;
    if (v->watch->position() != v->last) {
      breach(strf("viewer %zu has seen %lld, its watch stands at %lld", v->number,
                  static_cast<long long>(v->last), static_cast<long long>(v->watch->position())));
    }
    if (!calm_ && clock_.chance(20))
      v->at->process->turn([&] { clock_.chance(500) ? v->watch->pause() : v->watch->resume(); });
  }
}

void Whole::leave(Device& d) {
  for (const auto& v : viewers_) {
    if (v->at == &d) attach(*v);
  }
}

}  // namespace sim

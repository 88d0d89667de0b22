#include "history.h"

#include <algorithm>

#include "base/result.h"

namespace sim {

using limpet::strf;

History::Id History::write(std::string key, std::string value, Time begin) {
  operations_.push_back({.key = std::move(key), .value = std::move(value), .begin = begin});
  return operations_.size() - 1;
}

void History::read(std::string key, std::string value, Time begin, Time end) {
  operations_.push_back({.key = std::move(key),
                         .value = std::move(value),
                         .is_read = true,
                         .known = true,
                         .begin = begin,
                         .end = end});
}

size_t History::acknowledged() const {
  return static_cast<size_t>(std::count_if(operations_.begin(), operations_.end(),
                                           [](const Operation& o) { return o.known && !o.is_read; }));
}

std::string History::violation() const {
  std::map<std::string, std::vector<const Operation*>> by_key;
  for (const Operation& o : operations_) by_key[o.key].push_back(&o);
  for (const auto& [key, operations] : by_key) {
    if (std::string found = violation_of(key, operations); !found.empty()) return found;
  }
  return "";
}

namespace {
struct Zone {
  std::string value;
  Time first_end = ~Time{0}, last_begin = 0, write_begin = 0;
  bool written = false, seen = false, known = false, failed = false;
  bool forward() const { return first_end < last_begin; }
};
}  // namespace

std::string History::violation_of(const std::string& key,
                                  const std::vector<const Operation*>& operations) const {
  std::map<std::string, Zone> zones;
  // "" is what is there before any write.
  zones[""] = {.value = "", .first_end = 0, .written = true, .known = true};
  for (const Operation* o : operations) {
    Zone& zone = zones[o->value];
    zone.value = o->value;
    zone.first_end = std::min(zone.first_end, o->end);
    zone.last_begin = std::max(zone.last_begin, o->begin);
    if (o->is_read) {
      zone.seen = true;
    } else {
      zone.written = true, zone.known = o->known, zone.failed = o->failed, zone.write_begin = o->begin;
    }
  }
  std::vector<const Zone*> forward, backward;
  for (const auto& [value, zone] : zones) {
    if (zone.seen && !zone.written)
      return strf("%s: '%s' was read and never written", key.c_str(), value.c_str());
    if (zone.seen && zone.failed) {
      return strf("%s: '%s' was read, and its write had been refused", key.c_str(), value.c_str());
    }
    if (!zone.seen && !zone.known) continue;  // it may never have happened
    if (zone.first_end < zone.write_begin) {
      return strf("%s: '%s' was read before it was written", key.c_str(), value.c_str());
    }
    (zone.forward() ? forward : backward).push_back(&zone);
  }
  std::sort(forward.begin(), forward.end(), [](auto* a, auto* b) { return a->first_end < b->first_end; });
  for (size_t i = 1; i < forward.size(); ++i) {
    if (forward[i]->first_end < forward[i - 1]->last_begin) {
      return strf("%s: '%s' and '%s' were both there at %llu us", key.c_str(), forward[i - 1]->value.c_str(),
                  forward[i]->value.c_str(), (unsigned long long)forward[i]->first_end);
    }
  }
  for (const Zone* b : backward) {
    // The last forward zone that begins before this one does.
    auto it = std::partition_point(forward.begin(), forward.end(),
                                   [&](const Zone* f) { return f->first_end < b->last_begin; });
    if (it == forward.begin()) continue;
    const Zone* f = *std::prev(it);
    if (b->first_end < f->last_begin) {
      return strf("%s: '%s' came and went while '%s' was there", key.c_str(), b->value.c_str(),
                  f->value.c_str());
    }
  }
  return "";
}

}  // namespace sim

// Devices: their files, their processes and what passes between them.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/result.h"
#include "raft/codec.h"
#include "whole.h"

namespace sim {

using namespace limpet;
using ull = unsigned long long;
namespace fs = std::filesystem;

Device& Whole::add(std::string cluster) {
  auto d = std::make_unique<Device>();
  d->number = devices_.size();
  d->cluster = std::move(cluster);
  if (!d->cluster.empty()) d->id = clock_.random().u64() >> 1 | 1;  // as whoever joins is told
  d->dir = place_ + strf("/%zu/", dirs_++);
  fs::create_directory(d->dir);
  devices_.push_back(std::move(d));
  return *devices_.back();
}

void Whole::start(Device& d) {
  if (d.store || d.gone) return;
  auto process = std::make_shared<Process>(clock_);
  d.closing = d.closed = false;
  const uint64_t pace = clock_.between(800, 1200);
  if (pace != 1000) fault(Fault::drift);
  process->drift(pace);
  process->on_death([this, &d] { ended(d); });
  d.process = process;
  if (!calm_ && kinds_.contains("failpoint") && clock_.chance(600)) arm(*process);
  process->turn([&] {
    d.loop = std::make_unique<loop::Loop>();
    store::Options options = shape_;
    options.path = d.dir + "d.db";
    options.join_cluster = d.cluster;
    if (!d.cluster.empty()) options.join_member = d.id;
    auto opened = store::Store::open(*d.loop, options, d.clock);
    if (!process->alive()) return;
    if (opened) {
      d.store = std::move(*opened);
      if (std::exchange(d.started, true)) fault(Fault::restart);
      return connect(d);
    }
    say(strf("%zu does not start: %s", d.number, opened.error().message.c_str()));
    if (d.rotten) {
      fault(Fault::rot_found);
      return replace(d);
    }
    if (!process->fired()) breach(strf("device %zu does not start: ", d.number) + opened.error().message);
    exits(d);
  });
}

void Whole::connect(Device& d) {
  store::Consensus& c = d.store->consensus();
  d.id = c.self();
  if (d.cluster.empty() && roster_.agreed().voters.empty()) roster_.agreed(1, c.status().membership);
  say(strf("%zu starts as %llx", d.number, (ull)d.id));
  c.on_message([this, &d, process = d.process](raft::MemberId to, std::string bytes) {
    if (process->alive()) send(d, to, std::move(bytes));
  });
  d.standing = c.on_standing([this, &d, process = d.process](const raft::Standing& s) {
    if (!process->alive() || s.role != raft::Role::leader) return;
    say(strf("%zu leads term %llu", d.number, (ull)s.term));
    const auto [it, first] = leaders_.emplace(s.term, d.id);
    if (!first && it->second != d.id) breach(strf("term %llu has two leaders", (ull)s.term));
  });
  d.store->on_fatal([this, &d, process = d.process](Error e) {
    if (process->alive()) stops(d, e);
  });
}

// A daemon ends when its store has stopped.
void Whole::stops(Device& d, const Error& error) {
  say(strf("%zu stops: %s", d.number, error.message.c_str()));
  if (d.rotten) {
    fault(Fault::rot_found);
    return replace(d);
  }
  // Without room a clean stop leaves the log where it is.
  const bool cannot_tidy = d.closing && error.code == Errc::exhausted;
  if (!d.process->fired() && !cannot_tidy) breach(strf("device %zu stops: ", d.number) + error.message);
  exits(d);
}

// What the kernel holds of its files is there at the next start.
void Whole::exits(Device& d) { d.process->die(); }

void Whole::closed(Device& d) {
  fault(Fault::stop);
  d.closed = true;
  exits(d);
}

// By whatever: of a device that goes on, half of the times the power is gone, too.
void Whole::ended(Device& d) {
  if (!d.gone && clock_.chance(700)) {
    fault(Fault::crash);
    d.next = place_ + strf("/%zu/", dirs_++);
    fs::create_directory(d.next);
    // A file that was not opened in this life is what it was at its end of the one before.
    for (const char* file : {"d.db", "d.db-wal", "d.db.made"}) {
      if (fs::exists(d.dir + file)) fs::copy_file(d.dir + file, d.next + file);
    }
    const auto image = disk_.image(clock_.random(), d.next, d.dir);
    if (image.missing > 0) fault(Fault::unsynced);
    if (image.torn > 0) fault(Fault::torn);
  } else if (!d.gone && !d.closed) {
    fault(Fault::kill);
  }
  // Not within what it is doing.
  clock_.after(0, [this, &d] {
    leave(d);
    d.standing.reset();
    d.store.reset();
    d.loop.reset();
    if (d.next.empty() && !d.gone) return;
    disk_.forget(d.dir);
    fs::remove_all(d.dir);
    if (!d.gone) d.dir = std::exchange(d.next, "");
  });
  if (d.gone) return;
  const Time down = clock_.chance(500) ? clock_.between(1, 100) * kMs : clock_.between(1, 8) * kSecond;
  clock_.after(calm_ ? kMs : down, [this, &d] { start(d); });
}

// The device comes back as somebody new, with nothing; whoever looks after the group takes it in.
void Whole::replace(Device& d) {
  if (std::exchange(d.gone, true)) return;
  if (d.process->alive()) d.process->die();
  join_later();
}

void Whole::join_later() {
  clock_.after(clock_.between(10, 5000) * kMs, [this] {
    for (const auto& other : devices_) {
      if (other->runs() && !other->gone) return start(add(other->store->consensus().cluster()));
    }
    join_later();  // nobody is there to say of which cluster
  });
}

void Whole::rot(const std::string& file) {
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  if (!f) return;
  f.seekg(0, std::ios::end);
  const auto size = static_cast<uint64_t>(f.tellg());
  if (size == 0) return;
  fault(Fault::rot);
  const auto at = static_cast<std::streamoff>(clock_.below(size));
  f.seekg(at);
  const char flipped = static_cast<char>(f.get() ^ 1 << clock_.below(8));
  f.seekp(at);
  f.put(flipped);
}

// ---- the network ----

void Whole::send(const Device& from, raft::MemberId to, std::string bytes) {
  const auto message = raft::decode_message(bytes, from.id, to);
  if (!message) return breach("a message that is none");
  if (trace_) say(strf("%zu: ", from.number) + raft::to_string(*message));
  if (const auto* append = std::get_if<raft::Append>(&message->body)) sent_.note(*append);
  if (const auto* chunk = std::get_if<raft::SnapshotChunk>(&message->body)) {
    ++snapshots;
    if (chunk->last) fault(Fault::snapshot);
  }
  int copies = !calm_ && clock_.chance(twice_) ? 2 : 1;
  if (copies == 2) fault(Fault::duplicate);
  for (const uint64_t number = paths_.sent(from.id, to); copies > 0; --copies) {
    if (!calm_ && clock_.chance(lose_)) {
      fault(Fault::loss);
      continue;
    }
    Time delay = clock_.between(500, 5000);
    if (!calm_ && clock_.chance(late_)) {
      fault(Fault::delay);
      delay = clock_.below(2 * kSecond);
    }
    clock_.after(delay, [this, sender = from.id, to, bytes, number] { arrives(sender, to, bytes, number); });
  }
}

void Whole::arrives(raft::MemberId from, raft::MemberId to, const std::string& bytes, uint64_t number) {
  if (cuts_.contains({from, to})) return fault(Fault::cut_off);
  Device* d = by_id(to);
  if (!d || !d->runs()) return;
  if (paths_.overtaken(from, to, number)) fault(Fault::reorder);
  d->process->turn([d, from, bytes] {
    if (d->store) (void)d->store->consensus().receive(bytes, from);
  });
}

Device* Whole::by_id(raft::MemberId id) {
  for (const auto& d : devices_) {
    if (d->id == id) return d.get();
  }
  return nullptr;
}

Device* Whole::some() {
  std::vector<Device*> out;
  for (const auto& d : devices_) {
    if (d->asked()) out.push_back(d.get());
  }
  return out.empty() ? nullptr : out[clock_.below(out.size())];
}

Device* Whole::leader() {
  for (const auto& d : devices_) {
    if (d->asked() && d->store->consensus().leading()) return d.get();
  }
  return nullptr;
}

void Whole::look() {
  for (const auto& d : devices_) {
    if (!d->runs()) continue;
    const raft::Status s = d->store->consensus().status();
    if (s.membership_index != 0 && s.membership_index <= s.commit)
      roster_.agreed(s.membership_index, s.membership);
  }
}

}  // namespace sim

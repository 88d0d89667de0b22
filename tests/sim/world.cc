#include "world.h"

#include <cstdio>

#include "base/result.h"
#include "raft/codec.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;
using ull = unsigned long long;

namespace {
constexpr Time kHealWithin = 60 * kSecond, kLastLoad = 20 * kSecond;
constexpr uint64_t kKeys = 5;
}  // namespace

void Ledger::add(const Ledger& o) {
  operations += o.operations, reads += o.reads, acknowledged += o.acknowledged, faults.add(o.faults);
  memberships += o.memberships, snapshots += o.snapshots, terms += o.terms, messages += o.messages,
      time += o.time;
}

World::World(uint64_t seed, bool trace) : clock_(seed), weather_(Weather::draw(clock_)), trace_(trace) {}

void World::run() {
  Membership first;
  for (MemberId id = 1; id <= weather_.members; ++id) first.voters.push_back(id);
  roster_.agreed(1, first);
  for (uint64_t i = 0; i < weather_.members; ++i) start(add_member(first));
  for (uint64_t c = 0; c < weather_.clients; ++c) client(c);
  clock_.after(weather_.trouble_every, [this] { trouble(); });
  while (clock_.step(weather_.lasts)) {
  }
  heal();
  const Time end = clock_.now() + kHealWithin;
  clock_.after(kLastLoad, [this] {
    if (acknowledged_calm_ == 0)
      throw Breach("no write was acknowledged in twenty seconds after all was healed");
  });
  while (!useful()) {
    if (!clock_.step(end)) throw Breach("the healed group is of no use within a minute");
  }
  read_all_once_more();
  ledger_.terms = checker_.leaders();
  ledger_.operations = history_.size();
  ledger_.acknowledged = history_.acknowledged();
  ledger_.time = clock_.now();
  if (const std::string found = history_.violation(); !found.empty())
    throw Breach("not linearizable: " + found);
}

World::Node& World::add_member(Membership membership) {
  Member::Shape shape;
  shape.options.self = next_id_++;
  shape.options.heartbeat_ticks = weather_.heartbeat_ticks;
  shape.options.election_ticks = weather_.election_ticks;
  shape.options.max_message_bytes = weather_.small_messages ? 40 : clock_.between(40, 400);
  shape.options.max_window_messages = clock_.between(1, 8);
  shape.options.max_cache_bytes = clock_.between(0, 1000);
  shape.options.max_apply_bytes = clock_.between(40, 1000);
  shape.options.max_pending_bytes = clock_.between(500, 5000);
  shape.tick = clock_.between(80, 120) * kMs;
  if (shape.tick != 100 * kMs) fault(Fault::drift);
  shape.keep_entries = weather_.keep_entries;
  shape.chunk_bytes = clock_.between(8, 64);
  shape.lazy = clock_.chance(500);
  Disk::Speed speed;
  if (weather_.slow_disks) speed.sync_high = 100 * kMs;
  Node node;
  node.member = std::make_unique<Member>(clock_, checker_, *this, shape, speed);
  if (!membership.voters.empty()) node.member->disk().set_up(std::move(membership));
  return nodes_.emplace(shape.options.self, std::move(node)).first->second;
}

World::Node* World::pick() {
  std::vector<Node*> out;
  for (auto& [id, node] : nodes_) {
    if (node.member->running()) out.push_back(&node);
  }
  return out.empty() ? nullptr : out[clock_.below(out.size())];
}

// Who looks for a device that is of use finds one that was not left out.
World::Node* World::pick_member() {
  std::vector<Node*> out;
  for (const raft::MemberId id : roster_.agreed().all()) {
    if (Node& node = nodes_.at(id); node.member->running()) out.push_back(&node);
  }
  return out.empty() ? nullptr : out[clock_.below(out.size())];
}

World::Node* World::leading() {
  std::vector<Node*> out;
  for (auto& [id, node] : nodes_) {
    if (node.member->running() && !node.member->paused() &&
        node.member->raft().standing().role == Role::leader)
      out.push_back(&node);
  }
  return out.empty() ? nullptr : out[clock_.below(out.size())];
}

// Again, perhaps; never one that is gone. A file that is refused is as good as none.
void World::start(Node& node) {
  const MemberId id = node.member->id();
  if (node.member->running() || node.replaced) return;
  // It may have crashed before it could tell that it had applied one.
  const Contents& c = node.member->disk().live();
  if (node.member->disk().sound() && c.applied.index != 0) roster_.agreed(c.membership_index, c.membership);
  if (node.member->start()) {
    if (std::exchange(node.started, true)) fault(Fault::restart);
    return;
  }
  fault(Fault::rot_found);
  if (!roster_.gone(id)) throw Breach(strf("member %llu refuses a file that nothing happened to", (ull)id));
  replace(node);
}

void World::say(const std::string& what) {
  if (trace_) std::printf("%10.3f      %s\n", static_cast<double>(clock_.now()) / kMs, what.c_str());
}

void World::trace(MemberId id, const std::string& what) {
  if (!trace_) return;
  size_t begin = 0;
  while (begin < what.size()) {
    const size_t end = std::min(what.find('\n', begin), what.size());
    std::printf("%10.3f [%llu] %s\n", static_cast<double>(clock_.now()) / kMs, (ull)id,
                what.substr(begin, end - begin).c_str());
    begin = end + 1;
  }
}

// ---- the network ----

// The sender's connection may notice.
void World::lost(const Message& message) {
  if (!clock_.chance(200)) return;
  clock_.after(clock_.between(1, 100) * kMs, [this, from = message.from, to = message.to] {
    Member& member = *nodes_.at(from).member;
    if (member.running()) (void)member.with([&](Raft& raft) { return raft.unreachable(to), 0; });
  });
}

// By chance, or by a cut through which nothing was under way.
bool World::drops(const Message& message, bool badly) {
  const bool by_chance = badly && clock_.chance(weather_.lose);
  if (!by_chance && (weather_.cut_under_way || connected(message.from, message.to))) return false;
  fault(by_chance ? Fault::loss : Fault::cut_off);
  return true;
}

void World::arrives(const Message& message, uint64_t number) {
  if (weather_.cut_under_way && !connected(message.from, message.to)) return fault(Fault::cut_off);
  const auto it = nodes_.find(message.to);
  if (it == nodes_.end()) return;
  if (paths_.overtaken(message.from, message.to, number)) fault(Fault::reorder);
  it->second.member->receive(message);
}

void World::send(Message original) {
  // As bytes, as between devices.
  const Message message = decode_message(encode(original), original.from, original.to).value();
  ++ledger_.messages;
  if (roster_.gone(message.from)) throw Breach("a member speaks that is gone: " + to_string(message));
  if (const auto* chunk = std::get_if<SnapshotChunk>(&message.body)) {
    ++ledger_.snapshots;
    if (chunk->last) fault(Fault::snapshot);
  }
  const bool badly = !calm_ && weather_.treats(message);
  const int copies = badly && clock_.chance(weather_.duplicate) ? 2 : 1;
  if (copies == 2) fault(Fault::duplicate);
  const uint64_t number = paths_.sent(message.from, message.to);
  for (int i = 0; i < copies; ++i) {
    if (drops(message, badly)) {
      lost(message);
      continue;
    }
    Time delay = clock_.between(weather_.delay_low, weather_.delay_high);
    if (badly && weather_.late_for(message.to) && clock_.chance(weather_.late)) {
      delay = clock_.below(weather_.late_most);
      fault(Fault::delay);
    }
    clock_.after(delay, [this, message, number] { arrives(message, number); });
  }
}

// ---- clients ----

void World::client(uint64_t number) {
  if (calm_ && clock_.now() > weather_.lasts + kLastLoad) return;
  clock_.after(clock_.between(1, 2 * weather_.think), [this, number] {
    client(number);
    Node* node = calm_ ? pick_member() : pick();
    // Mostly they know who leads.
    if (node && clock_.chance(calm_ ? 600 : weather_.ask_leader)) {
      const auto it = nodes_.find(node->member->raft().standing().leader);
      if (it != nodes_.end() && it->second.member->running()) node = &it->second;
    }
    if (!node || node->member->paused()) return;
    if (clock_.chance(calm_ ? 500 : weather_.reads)) return read(*node);
    for (uint64_t left = clock_.between(1, weather_.burst); left > 0; --left) write(*node);
  });
}

void World::write(Node& node) {
  // As a store does: nothing new comes before what waits for room. In the calm nothing comes beside a disk
  // that stands still, either; before, the core has to bear it.
  if (node.member->waits_for_room() || (calm_ && node.member->disk_hangs()))
    return say(strf("client refused by %llu: its disk", (ull)node.member->id()));
  const std::string key(1, static_cast<char>('a' + clock_.below(kKeys)));
  const std::string value = std::to_string(next_value_++);
  const Time begin = clock_.now();
  const Term term = node.member->raft().standing().term;
  // The operation is known before anything follows from it: a group of one is done within the call.
  const History::Id operation = history_.write(key, value, begin);
  const Index next = node.member->raft().status().last + 1;
  node.proposals[next] = {term, operation};
  const auto index = node.member->with([&](Raft& raft) { return raft.propose(share(key + "=" + value)); });
  if (index) return;
  say(strf("client refused by %llu: %s", (ull)node.member->id(), index.error().message.c_str()));
  node.proposals.erase(next);
  history_.failed(operation);
}

void World::read(Node& node) {
  const std::string key(1, static_cast<char>('a' + clock_.below(kKeys)));
  const Time begin = clock_.now();
  const auto id = node.member->raft().read();
  if (id) node.reads[*id] = {key, begin, checker_.agreed()};
  node.member->with([](Raft&) { return 0; });
}

void World::read_done(MemberId id, uint64_t read, Index index) {
  Node& node = nodes_.at(id);
  const auto it = node.reads.find(read);
  if (it == node.reads.end()) throw Breach("a read was settled twice");
  if (index == 0) {
    node.reads.erase(it);
  } else {
    // Stronger than what a client could notice.
    if (index < it->second.agreed) {
      throw Breach(
          strf("member %llu may answer a read with what was so at %llu, and %llu was applied before it began",
               (ull)id, (ull)index, (ull)it->second.agreed));
    }
    it->second.index = index;
    serve(node);
  }
}

void World::serve(Node& node) {
  const Contents& c = node.member->disk().live();
  const Index applied = node.member->applied_index();
  std::erase_if(node.reads, [&](const auto& entry) {
    const Read& read = entry.second;
    if (read.index == 0 || read.index > applied) return false;
    const auto value = c.machine.values.find(read.key);
    history_.read(read.key, value == c.machine.values.end() ? "" : value->second, read.begin, clock_.now());
    say(strf("client read %s='%s' on %llu, begun at %.3f", read.key.c_str(),
             value == c.machine.values.end() ? "" : value->second.c_str(), (ull)node.member->id(),
             static_cast<double>(read.begin) / kMs));
    ++ledger_.reads;
    return true;
  });
}

void World::applied(MemberId id, const std::vector<Entry>& entries) {
  Node& node = nodes_.at(id);
  for (const Entry& entry : entries) {
    check_stored_by_majority(entry);
    if (entry.kind == EntryKind::membership) {
      ++ledger_.memberships;
      roster_.agreed(entry.index, *decode_membership(*entry.bytes));
    }
    const auto it = node.proposals.find(entry.index);
    if (it == node.proposals.end()) continue;
    if (it->second.term == entry.term) {
      history_.done(it->second.operation, clock_.now());
      say(strf("client wrote %s on %llu", entry.bytes->c_str(), (ull)id));
      if (calm_) ++acknowledged_calm_;
    } else {
      history_.failed(it->second.operation);
    }
    node.proposals.erase(it);
  }
  serve(node);
}

// Whoever lost its disk had acknowledged it before, or not: nobody knows. A group of one that stores what an
// entry does and not the entry has rules of its own.
void World::check_stored_by_majority(const Entry& entry) {
  if (entry.index <= majority_has_) return;
  majority_has_ = entry.index;
  const auto has = [&](MemberId id) {
    const Contents& c = nodes_.at(id).member->disk().stable();
    return roster_.gone(id) || c.applied.index >= entry.index || c.term(entry.index) == entry.term;
  };
  const auto enough = [&](const Membership& m) {
    return (m.all().size() == 1 && !m.joint()) || quorum(m, has);
  };
  if (!roster_.any(enough))
    throw Breach(strf("entry %llu of term %llu is applied, and no majority has it on disk", (ull)entry.index,
                      (ull)entry.term));
}

void World::withdrawn(MemberId id, Index first) {
  auto& proposals = nodes_.at(id).proposals;
  for (auto it = proposals.lower_bound(first); it != proposals.end(); it = proposals.erase(it)) {
    history_.failed(it->second.operation);
  }
}

// ---- afterwards ----

void World::heal() {
  say("all is healed");
  calm_ = true;
  cuts_.clear();
  // Starting one may bring a new one.
  std::vector<Node*> all;
  for (auto& [id, node] : nodes_) all.push_back(&node);
  for (Node* node : all) {
    node->member->heal();
    start(*node);
  }
  if (weather_.one_stays_broken) leave_one_broken();
}

// A leader whose whole membership, but for who stays broken, has applied all that it has, some of it written
// since the group was healed.
bool World::useful() {
  if (acknowledged_calm_ == 0) return false;
  for (const auto& [id, node] : nodes_) {
    if (node.broken) continue;
    // Every read must be settled; one on a member that was left out may wait for its index in vain.
    for (const auto& [read, what] : node.reads) {
      if (what.index == 0) return false;
    }
  }
  for (auto& [id, node] : nodes_) {
    if (node.broken || !node.member->running()) continue;
    const Status status = node.member->raft().status();
    if (status.standing.role != Role::leader || status.membership.joint()) continue;
    if (status.applied != status.last || checker_.agreed() > status.last) continue;
    bool all = true;
    for (const MemberId other : status.membership.all()) {
      if (nodes_.at(other).broken) continue;
      const Member& member = *nodes_.at(other).member;
      all = all && member.running() && member.applied_index() >= checker_.agreed() &&
            member.raft().standing().leader == id;
    }
    if (all) return true;
  }
  return false;
}

void World::read_all_once_more() {
  // Once more, now that all is calm: what was acknowledged before is read after. Who led before may not have
  // noticed yet that another one does.
  Member* leader = nullptr;
  for (auto& [id, node] : nodes_) {
    if (node.broken || !node.member->running()) continue;
    const raft::Standing& now = node.member->raft().standing();
    if (now.role == Role::leader && (!leader || leader->raft().standing().term < now.term))
      leader = node.member.get();
  }
  if (!leader) throw Breach("nobody leads after all was healed");
  // A key that is not there counts, too: a write of it may be lost.
  const auto& values = leader->disk().live().machine.values;
  for (uint64_t k = 0; k < kKeys; ++k) {
    const std::string key(1, static_cast<char>('a' + k));
    const auto value = values.find(key);
    history_.read(key, value == values.end() ? "" : value->second, clock_.now(), clock_.now());
  }
}

}  // namespace sim

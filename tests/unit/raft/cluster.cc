#include "cluster.h"

#include <sstream>
#include <stdexcept>

#include "base/result.h"

namespace scenario {

using namespace limpet;
using namespace limpet::raft;

namespace {

MemberId number(const std::string& word) { return std::stoull(word); }

std::vector<MemberId> numbers(const std::string& word) {
  std::vector<MemberId> out;
  std::istringstream in(word);
  for (std::string part; std::getline(in, part, ',');) out.push_back(number(part));
  return out;
}

Membership membership(const std::vector<std::string>& words, size_t from) {
  Membership out{numbers(words.at(from)), {}, {}};
  if (words.size() > from + 2 && words[from + 1] == "learners") out.learners = numbers(words[from + 2]);
  return out;
}

// All that it has to store, but for the part of a snapshot.
sim::Change change(const Batch& batch) {
  sim::Change out;
  out.transaction.hard_state = batch.hard_state;
  out.transaction.unstage = batch.unstage;
  out.transaction.install = batch.install;
  out.transaction.append = batch.append;
  out.transaction.apply = batch.apply;
  return out;
}

bool on_path(const Message& m, const std::string& path) {
  const size_t arrow = path.find("->");
  if (arrow == std::string::npos) throw std::runtime_error("no path: " + path);
  const std::string from = path.substr(0, arrow), to = path.substr(arrow + 2);
  return (from == "*" || number(from) == m.from) && (to == "*" || number(to) == m.to);
}

}  // namespace

std::string Cluster::run(const std::string& command) {
  std::istringstream in(command);
  Words words;
  for (std::string word; in >> word;) words.push_back(word);
  out_.clear();
  dispatch(words);
  return std::exchange(out_, "");
}

void Cluster::say(const std::string& lines, const std::string& prefix) {
  if (muted_) return;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) out_ += prefix + line + "\n";
}

Cluster::Node& Cluster::node(const std::string& word) {
  const auto it = nodes_.find(number(word));
  if (it == nodes_.end()) throw std::runtime_error("no member " + word);
  return it->second;
}

void Cluster::dispatch(const Words& words) {
  const std::string& verb = words.at(0);
  if (verb == "mute") {
    muted_ = true;
  } else if (verb == "unmute") {
    muted_ = false;
  } else if (verb == "group") {
    group(words);
  } else if (verb == "join") {
    start(number(words.at(1)));
  } else if (verb == "deliver") {
    deliver(words.size() > 1 ? words[1] : "*->*", words.size() > 2 ? number(words[2]) : 0);
  } else if (verb == "again") {
    const std::deque<Message> waiting = wire_;
    for (const Message& m : waiting) {
      if (on_path(m, words.at(1))) wire_.push_back(m);
    }
  } else if (verb == "drop") {
    drop(words.at(1));
  } else if (verb == "append") {
    append(words);
  } else if (verb == "disk") {
    node(words.at(1)).slow = words.at(2) == "slow";
  } else if (verb == "sync") {
    sync(number(words.at(1)));
  } else if (verb == "crash") {
    Node& n = node(words.at(1));
    n.core.reset();
    n.waiting.clear();
    n.live = n.stable;
  } else if (verb == "start") {
    start(number(words.at(1)));
  } else if (verb == "compact") {
    Node& n = node(words.at(1));
    sim::Change t;
    t.compact_to = number(words.at(2));
    t.on(n.live);
    t.on(n.stable);
  } else if (verb == "log" || verb == "status") {
    inspect(words);
  } else {
    ask(words);
  }
}

void Cluster::ask(const Words& words) {
  const std::string& verb = words.at(0);
  Node& n = node(words.at(1));
  if (!n.core) throw std::runtime_error("member " + words[1] + " is not running");
  const auto refused = [&](const auto& result) {
    if (!result) say("refused: " + result.error().message + "\n");
  };
  if (verb == "campaign") {
    n.core->campaign();
  } else if (verb == "tick") {
    for (uint64_t i = number(words.at(2)); i > 0; --i) {
      n.core->tick();
      pump(number(words[1]));
    }
  } else if (verb == "propose") {
    refused(n.core->propose(share(words.at(2))));
  } else if (verb == "read") {
    refused(n.core->read());
  } else if (verb == "unreachable") {
    n.core->unreachable(number(words.at(2)));
  } else if (verb == "transfer") {
    refused(n.core->transfer(number(words.at(2))));
  } else if (verb == "reconfigure") {
    refused(n.core->reconfigure(membership(words, 2)));
  } else {
    throw std::runtime_error("no command: " + verb);
  }
  pump(number(words[1]));
}

void Cluster::append(const Words& words) {
  Message m;
  const auto numbers_of = [](const std::string& word, const std::string& between) {
    const size_t at = word.find(between);
    if (at == std::string::npos) throw std::runtime_error("no " + between + " in " + word);
    return std::pair(number(word.substr(0, at)), number(word.substr(at + between.size())));
  };
  std::tie(m.from, m.to) = numbers_of(words.at(1), "->");
  m.term = number(words.at(2));
  Append body;
  std::tie(body.prev_index, body.prev_term) = numbers_of(words.at(3), "@");
  body.commit = number(words.at(4));
  for (size_t i = 5; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    Entry entry;
    std::tie(entry.index, entry.term) = numbers_of(words[i].substr(0, equals), "@");
    entry.bytes = share(equals == std::string::npos ? "" : words[i].substr(equals + 1));
    body.entries.push_back(std::move(entry));
  }
  m.body = std::move(body);
  wire_.push_back(std::move(m));
}

void Cluster::inspect(const Words& words) {
  Node& n = node(words.at(1));
  if (words[0] == "log") {
    std::string line = strf("after %llu@%llu:", (unsigned long long)n.live.log_start,
                            (unsigned long long)n.live.log_start_term);
    for (const Entry& entry : n.live.log) line += " " + to_string(entry);
    return say(line + "\n");
  }
  const Status s = n.core->status();
  std::string line =
      strf("term %llu leader %llu commit %llu last %llu ", (unsigned long long)s.standing.term,
           (unsigned long long)s.standing.leader, (unsigned long long)s.commit, (unsigned long long)s.last);
  say(line + to_string(s.membership) + "\n");
}

void Cluster::group(const Words& words) {
  const Membership m = membership(words, 1);
  for (const MemberId id : m.all()) {
    sim::Contents& c = nodes_[id].live;
    c.membership = m;
    c.hard_state.term = c.log_start_term = 1;
    c.membership_index = c.log_start = 1;
    c.applied = {1, 1};
    nodes_[id].stable = c;
    start(id);
  }
}

void Cluster::start(MemberId id) {
  Node& n = nodes_[id];
  const sim::Contents& c = n.live;
  Start start{c.hard_state, c.applied, c.membership, c.membership_index, {}, c.staged};
  for (Index i = c.applied.index + 1; i <= c.last(); ++i) start.tail.push_back(*c.entry(i));
  Options options{.self = id, .seed = id, .heartbeat_ticks = 2, .election_ticks = 10};
  options.max_cache_bytes = 0;
  options.max_window_messages = 4;
  options.max_message_bytes = 1;  // an entry a message
  n.core = std::make_unique<Raft>(options, std::move(start));
  pump(id);
}

void Cluster::deliver(const std::string& path, uint64_t most) {
  for (uint64_t i = 0; i < 10000; ++i) {
    if (most != 0 && i == most) return;
    const auto it =
        std::find_if(wire_.begin(), wire_.end(), [&](const Message& m) { return on_path(m, path); });
    if (it == wire_.end()) return;
    const Message m = *it;
    wire_.erase(it);
    const auto to = nodes_.find(m.to);
    if (to == nodes_.end() || !to->second.core) continue;
    to->second.core->receive(m);
    pump(m.to);
  }
  throw std::runtime_error("messages without end");
}

void Cluster::drop(const std::string& path) {
  std::erase_if(wire_, [&](const Message& m) { return on_path(m, path); });
}

void Cluster::pump(MemberId id) {
  Node& n = nodes_[id];
  for (Batch batch = n.core->take(); !batch.empty(); batch = n.core->take()) perform(id, std::move(batch));
}

void Cluster::perform(MemberId id, Batch batch) {
  Node& n = nodes_[id];
  say(to_string(batch), strf("%llu| ", (unsigned long long)id));
  wire_.insert(wire_.end(), batch.messages.begin(), batch.messages.end());
  for (const EntriesWanted& wanted : batch.entries_wanted) {
    EntriesRead read{wanted.peer, wanted.after, 0, {}};
    if (const auto term = n.live.term(wanted.after); term && n.live.entry(wanted.after + 1)) {
      read.after_term = *term;
      size_t cost = 0;
      for (Index i = wanted.after + 1; i <= wanted.upto && (i == wanted.after + 1 || cost < wanted.max_bytes);
           ++i) {
        read.entries.push_back(*n.live.entry(i));
        cost += read.entries.back().cost();
      }
    }
    n.core->entries_read(std::move(read));
  }
  for (const ChunkWanted& wanted : batch.chunks_wanted) read_chunk(n, wanted);
  if (batch.stage) {
    sim::Change t;
    t.transaction.stage = batch.stage;
    t.on(n.live);
    t.on(n.stable);
    n.core->chunk_stored(true);
  }
  change(batch).on(n.live);
  if (n.slow) {
    n.waiting.push_back(std::move(batch));
  } else {
    finish(n, batch);
  }
}

void Cluster::finish(Node& n, const Batch& batch) {
  change(batch).on(n.stable);
  if (batch.sequence != 0) n.core->persisted(batch.sequence);
  if (!batch.apply.empty()) n.core->applied(batch.apply.back().index);
}

// Ten bytes at a time; a snapshot is the state of now.
void Cluster::read_chunk(Node& n, const ChunkWanted& wanted) {
  const std::string bytes = n.live.machine.to_bytes();
  const bool goes_on = wanted.point == n.live.applied && !wanted.cursor.empty();
  const size_t begin = goes_on ? number(wanted.cursor) : 0;
  const size_t end = std::min(bytes.size(), begin + 10);
  n.core->chunk_read({wanted.peer,
                      {{n.live.applied, n.live.membership},
                       goes_on ? wanted.cursor : "",
                       std::to_string(end),
                       end == bytes.size(),
                       share(bytes.substr(begin, end - begin))}});
}

void Cluster::sync(MemberId id) {
  Node& n = nodes_[id];
  while (!n.waiting.empty()) {
    const Batch batch = std::move(n.waiting.front());
    n.waiting.pop_front();
    finish(n, batch);
    pump(id);
  }
}

}  // namespace scenario

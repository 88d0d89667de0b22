#include "checker.h"

#include "base/result.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;
using ull = unsigned long long;

void Checker::leads(MemberId id, Term term, const std::map<Index, Term>& log) {
  const auto [it, first] = leaders_.emplace(term, id);
  if (!first && it->second != id) {
    throw Breach(strf("term %llu has two leaders, %llu and %llu", (ull)term, (ull)it->second, (ull)id));
  }
  if (log.empty()) return;
  for (auto entry = agreed_.lower_bound(log.begin()->first); entry != agreed_.end(); ++entry) {
    if (entry->second.by >= term) continue;
    const auto held = log.find(entry->first);
    if (held != log.end() && held->second == entry->second.term) continue;
    throw Breach(strf("member %llu leads term %llu without entry %llu, which was agreed on in term %llu",
                      (ull)id, (ull)term, (ull)entry->first, (ull)entry->second.term));
  }
}

void Checker::has_vote(MemberId id, Index commit, const std::map<Index, Membership>& memberships) {
  for (auto known = memberships.rbegin(); known != memberships.rend(); ++known) {
    if (known->second.votes(id)) return;
    if (known->first <= commit) break;
  }
  throw Breach(strf("member %llu leads and has no vote", (ull)id));
}

void Checker::counts(MemberId id, const Membership& counted, const Membership& last_in_log) {
  if (counted == last_in_log) return;
  throw Breach(strf("member %llu counts the votes of %s, its log says %s", (ull)id,
                    to_string(counted).c_str(), to_string(last_in_log).c_str()));
}

void Checker::follows(const Membership& before, const Membership& after) {
  // Each decision of the one is among others one of the other.
  if (!before.joint() && (after.joint() ? after.outgoing : after.voters) == before.voters) return;
  if (before.joint() && !after.joint() && after.voters == before.voters) return;
  std::vector<MemberId> all = before.all();
  const std::vector<MemberId> others = after.all();
  all.insert(all.end(), others.begin(), others.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  for (uint64_t some = 0; some < uint64_t{1} << all.size(); ++some) {
    const auto among_them = [&](MemberId id) {
      return (some >> (std::lower_bound(all.begin(), all.end(), id) - all.begin()) & 1) != 0;
    };
    if (!quorum(before, among_them)) continue;
    if (quorum(after, [&](MemberId id) { return !among_them(id); }))
      throw Breach(strf("after %s comes %s, and each may decide without the other", to_string(before).c_str(),
                        to_string(after).c_str()));
  }
}

void Checker::sends(const Status& leader, const Options& options, const Contents& disk) {
  for (const PeerStatus& peer : leader.peers) {
    if (peer.next <= peer.match) {
      throw Breach(strf("member %llu is to be sent entry %llu, and has acknowledged %llu", (ull)peer.id,
                        (ull)peer.next, (ull)peer.match));
    }
    if (peer.state != ProgressState::replicate) continue;  // next says where to ask
    size_t under_way = 0, largest = options.max_message_bytes;
    for (Index i = peer.match + 1; i < peer.next; ++i) {
      const Entry* entry = disk.entry(i);
      if (!entry) continue;  // not there yet, or not any more
      under_way += entry->cost();
      largest = std::max(largest, entry->cost());
    }
    if (under_way > options.max_window_messages * largest) {
      throw Breach(
          strf("member %llu has acknowledged %llu and was sent %zu bytes after that, more than a window",
               (ull)peer.id, (ull)peer.match, under_way));
    }
  }
}

void Checker::stored(const Entry& entry, Term previous_term) {
  const auto [it, first] =
      written_.emplace(std::pair(entry.index, entry.term), Written{previous_term, *entry.bytes});
  if (first) return;
  if (it->second.bytes != *entry.bytes || it->second.previous_term != previous_term) {
    throw Breach(
        strf("entry %llu of term %llu is not the same everywhere", (ull)entry.index, (ull)entry.term));
  }
}

void Checker::applied(MemberId id, Term now, const Entry& entry, uint64_t hash_after) {
  const auto [it, first] = agreed_.emplace(entry.index, Agreed{entry.term, *entry.bytes, hash_after, now});
  if (first) return;
  if (!it->second.bytes) it->second.bytes = *entry.bytes;
  if (it->second.term != entry.term || *it->second.bytes != *entry.bytes) {
    throw Breach(strf("member %llu applies another entry %llu (term %llu) than was agreed on (term %llu)",
                      (ull)id, (ull)entry.index, (ull)entry.term, (ull)it->second.term));
  }
  if (it->second.hash != hash_after) {
    throw Breach(strf("member %llu is in another state after entry %llu", (ull)id, (ull)entry.index));
  }
}

void Checker::starts(const Contents& c) {
  if (c.applied.index == 0) return;
  const Entry* entry = c.entry(c.applied.index);
  const auto bytes = entry ? std::optional(*entry->bytes) : std::nullopt;
  const auto [it, first] =
      agreed_.emplace(c.applied.index, Agreed{c.applied.term, bytes, c.machine.hash, c.hard_state.term});
  if (!first && (it->second.term != c.applied.term || it->second.hash != c.machine.hash)) {
    throw Breach(strf("a member starts with another state after entry %llu", (ull)c.applied.index));
  }
}

void Checker::installed(MemberId id, const SnapshotPoint& point, const Membership& membership,
                        uint64_t hash) {
  const auto it = agreed_.find(point.index);
  if (it == agreed_.end()) throw Breach(strf("a snapshot of %llu, which nobody applied", (ull)point.index));
  if (it->second.term != point.term || it->second.hash != hash) {
    throw Breach(strf("member %llu has another state after its snapshot of %llu", (ull)id, (ull)point.index));
  }
  if (auto ok = check(membership); !ok) throw Breach("a snapshot's membership: " + ok.error().message);
}

void Checker::leaves(const Message& m, const Contents& stable) {
  const auto* vote = std::get_if<Vote>(&m.body);
  const auto* reply = std::get_if<VoteReply>(&m.body);
  const bool future = (vote && vote->pre) || (reply && reply->pre && reply->granted);
  if (!future && m.term > stable.hard_state.term) {
    throw Breach("a message of a term that is not stable: " + to_string(m));
  }
  if (reply && reply->granted && !reply->pre && stable.hard_state.term == m.term &&
      stable.hard_state.vote != m.to) {
    throw Breach("a vote that is not stable: " + to_string(m));
  }
  if (const auto* append = std::get_if<Append>(&m.body)) {
    Term previous = append->prev_term;
    for (const Entry& entry : append->entries) {
      stored(entry, previous);
      previous = entry.term;
    }
  }
  const auto* appended = std::get_if<AppendReply>(&m.body);
  // What was acknowledged in an older term may have been overwritten since, after it was stable.
  if (appended && m.term == stable.hard_state.term && appended->rejected == 0 &&
      appended->match > stable.last()) {
    throw Breach("an acknowledgement of what is not stable: " + to_string(m));
  }
}

}  // namespace sim

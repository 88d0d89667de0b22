// What the core says, in words: for traces, scenario files and complaints. Every field that matters, nothing
// twice.
#include "raft/types.h"

namespace limpet::raft {
namespace {

using ull = unsigned long long;
constexpr size_t kMaxShown = 50;  // entries of a message, in a trace

std::string at(Index index, Term term) { return strf("%llu@%llu", (ull)index, (ull)term); }

std::string list(const std::vector<Entry>& entries) {
  std::string out;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i == kMaxShown) return out + strf(" and %zu more", entries.size() - i);
    out += " " + to_string(entries[i]);
  }
  return out;
}

struct BodyText {
  std::string operator()(const Append& b) const {
    return strf("append after %s commit %llu", at(b.prev_index, b.prev_term).c_str(), (ull)b.commit) +
           list(b.entries);
  }
  std::string operator()(const AppendReply& b) const {
    if (b.rejected == 0) return strf("appended %llu", (ull)b.match);
    return strf("refused %llu hint %s", (ull)b.rejected, at(b.hint, b.hint_term).c_str());
  }
  std::string operator()(const Heartbeat& b) const {
    return strf("heartbeat commit %llu round %llu", (ull)b.commit, (ull)b.round);
  }
  std::string operator()(const HeartbeatReply& b) const { return strf("heard round %llu", (ull)b.round); }
  std::string operator()(const Vote& b) const {
    return strf("%svote%s for log %s", b.pre ? "pre-" : "", b.force ? " (forced)" : "",
                at(b.last_index, b.last_term).c_str());
  }
  std::string operator()(const VoteReply& b) const {
    return strf("%svote %s", b.pre ? "pre-" : "", b.granted ? "granted" : "refused");
  }
  std::string operator()(const SnapshotOffer&) const { return "snapshot offered"; }
  std::string operator()(const SnapshotChunk& b) const {
    return strf("snapshot %s %s '%s' to '%s' %zu bytes%s", at(b.meta.point.index, b.meta.point.term).c_str(),
                to_string(b.meta.membership).c_str(), b.cursor.c_str(), b.next.c_str(),
                b.bytes ? b.bytes->size() : 0, b.last ? " last" : "");
  }
  std::string operator()(const SnapshotReply& b) const {
    return strf("staged %s '%s'", at(b.point.index, b.point.term).c_str(), b.cursor.c_str());
  }
  std::string operator()(const TimeoutNow&) const { return "lead now"; }
  std::string operator()(const ReadIndex& b) const { return strf("read %llx", (ull)b.id); }
  std::string operator()(const ReadIndexReply& b) const {
    return strf("read %llx at %llu", (ull)b.id, (ull)b.index);
  }
};

constexpr const char* kRoles[] = {"follower", "candidate", "leader"};

std::string storage_text(const Batch& b) {
  std::string out;
  if (b.hard_state) {
    out += strf("store term %llu vote %llu\n", (ull)b.hard_state->term, (ull)b.hard_state->vote);
  }
  if (b.install) {
    out += strf("install %s %s\n", at(b.install->point.index, b.install->point.term).c_str(),
                to_string(b.install->membership).c_str());
  }
  if (!b.append.empty()) out += "store" + list(b.append) + "\n";
  if (b.sequence != 0) out += strf("sync #%llu\n", (ull)b.sequence);
  if (!b.apply.empty()) out += "apply" + list(b.apply) + "\n";
  if (b.unstage) out += "unstage\n";
  if (b.stage) out += "stage '" + b.stage->cursor + "'" + (b.stage->last ? " last" : "") + "\n";
  return out;
}

}  // namespace

bool Batch::empty() const {
  return sequence == 0 && apply.empty() && messages.empty() && !stage && !unstage && entries_wanted.empty() &&
         chunks_wanted.empty() && reads.empty() && !standing && complaints.empty();
}

std::string to_string(const Entry& entry) {
  std::string out = at(entry.index, entry.term);
  if (entry.kind == EntryKind::membership) {
    const auto membership = decode_membership(*entry.bytes);
    return out + "=" + (membership ? to_string(*membership) : "?");
  }
  if (!entry.bytes->empty())
    out += "=" + (entry.bytes->size() <= 24 ? *entry.bytes : strf("%zu bytes", entry.bytes->size()));
  return out;
}

std::string to_string(const Message& m) {
  return strf("%llu->%llu term %llu: ", (ull)m.from, (ull)m.to, (ull)m.term) + std::visit(BodyText{}, m.body);
}

std::string to_string(const Batch& b) {
  std::string out = storage_text(b);
  for (const Message& m : b.messages) out += to_string(m) + "\n";
  for (const EntriesWanted& w : b.entries_wanted) {
    out += strf("read entries after %llu to %llu for %llu\n", (ull)w.after, (ull)w.upto, (ull)w.peer);
  }
  for (const ChunkWanted& w : b.chunks_wanted) {
    out += strf("read snapshot %s '%s' for %llu\n", at(w.point.index, w.point.term).c_str(), w.cursor.c_str(),
                (ull)w.peer);
  }
  for (const ReadDone& r : b.reads) out += strf("read %llx: index %llu\n", (ull)r.id, (ull)r.index);
  if (b.standing) {
    out += strf("%s in term %llu, leader %llu\n", kRoles[static_cast<int>(b.standing->role)],
                (ull)b.standing->term, (ull)b.standing->leader);
  }
  for (const std::string& c : b.complaints) out += "complaint: " + c + "\n";
  return out;
}

}  // namespace limpet::raft

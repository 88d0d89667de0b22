// The raft side of the file: who this member is, its term and vote, and the log.
#include <sqlite3.h>

#include <tuple>

#include "base/assert.h"
#include "base/failpoint.h"
#include "raft/raft.h"
#include "store/database.h"
#include "store/hash.h"
#include "store/statement.h"

namespace limpet::store {
namespace {

constexpr const char* kGroup = "group";

uint64_t sum_of(raft::Index index, raft::Term term, std::string_view entry) {
  return hash64(entry, index * 0x9E3779B185EBCA87u ^ term);
}

}  // namespace

// The newest row counts, too: it says which entry it came from.
Result<std::optional<Group>> Database::group() {
  TRY(const auto bytes, get_blob(kGroup));
  if (!bytes) return std::optional<Group>();
  auto found = decode_group(*bytes);
  if (!found) return std::unexpected(std::move(found).error().with(path_));
  group_ = std::move(*found);
  TRY(const int64_t rows, number_of("SELECT EXISTS(SELECT 1 FROM log)"));
  TRY(const int64_t bytes_of_log, number_of("SELECT total(length(entry)) FROM log"));
  log_empty_ = rows == 0;
  log_bytes_ = static_cast<uint64_t>(bytes_of_log);
  TRY(const Newest last, newest());
  Group out = *group_;
  out.applied.index = std::max<raft::Index>(out.applied.index, last.index);
  return std::optional(std::move(out));
}

Result<> Database::found(Group group) {
  LIMPET_ASSERT(!group_);
  unwritten_[kGroup] = encode(group);
  group_ = std::move(group);
  return {};
}

Result<> Database::enter_term(raft::Term term) {
  Group g = *group_;
  g.hard_state = {term, 0};
  CHECK_OK(in_transaction("store.boot.commit", [&] { return set_blob(kGroup, encode(g)); }));
  group_ = std::move(g);
  return {};
}

void Database::enter_term_unwritten(raft::Term term) {
  group_->hard_state = {term, 0};
  unwritten_[kGroup] = encode(*group_);
}

Result<> Database::add_rows(const std::vector<Change>& changes) {
  for (const Change& c : changes) CHECK_OK(insert(c));
  return {};
}

Result<> Database::refound(const Group& g, Revision compacted) {
  CHECK_OK(clear_log_from(0));
  CHECK_OK(unstage());
  CHECK_OK(set_number("compacted", compacted));
  group_ = g;
  return set_blob(kGroup, encode(g));
}

Result<raft::Start> Database::start_of(const Group& group) {
  raft::Start start{group.hard_state, group.applied, group.membership, group.membership_index, {}, {}};
  TRY(start.staged, staged());
  TRY(start.tail, log_after(group.applied.index, raft::kMaxIndex, SIZE_MAX));
  if (const auto ok = raft::check(start); !ok) return damaged(ok.error().message);
  return start;
}

Result<> Database::write_log(const Transaction& t) {
  if (t.base) CHECK_OK(begin_log(*t.base));
  if (!t.log && !log_empty_) CHECK_OK(clear_log_from(0));
  if (!t.log || t.append.empty()) return {};
  if (LIMPET_FAILPOINT("store.log.append")) return fail(Errc::io, "failpoint store.log.append");
  if (!log_empty_) CHECK_OK(clear_log_from(t.append.front().index));
  for (const raft::Entry& entry : t.append)
    CHECK_OK(put_log(entry.index, entry.term, entry.kind, *entry.bytes));
  if (LIMPET_FAILPOINT("store.log.appended")) return fail(Errc::io, "failpoint store.log.appended");
  return {};
}

Result<> Database::put_log(raft::Index index, raft::Term term, raft::EntryKind kind, std::string_view bytes) {
  std::string stored(1, static_cast<char>(kind));
  stored += bytes;
  TRY(sqlite3_stmt * raw, statement("INSERT INTO log(position, term, sum, entry) VALUES(?,?,?,?)"));
  Statement s(raw);
  s.number(1, static_cast<int64_t>(index)).number(2, static_cast<int64_t>(term));
  s.number(3, static_cast<int64_t>(sum_of(index, term, stored))).bytes(4, stored);
  if (const int rc = s.step(); rc != SQLITE_DONE) return error(rc, "write the log");
  log_empty_ = false;
  log_bytes_ += stored.size();
  return {};
}

// The entry that the log begins after is there without its bytes, for its term.
Result<> Database::begin_log(const raft::SnapshotPoint& point) {
  if (!log_empty_) CHECK_OK(clear_log_from(0));
  if (LIMPET_FAILPOINT("store.log.begin")) return fail(Errc::io, "failpoint store.log.begin");
  return put_log(point.index, point.term, raft::EntryKind::normal, "");
}

Result<> Database::clear_log_from(raft::Index position) {
  if (LIMPET_FAILPOINT("store.log.clear")) return fail(Errc::io, "failpoint store.log.clear");
  TRY(sqlite3_stmt * sum, statement("SELECT total(length(entry)) FROM log WHERE position >= ?"));
  {
    Statement s(sum);
    if (const int rc = s.number(1, static_cast<int64_t>(position)).step(); rc != SQLITE_ROW)
      return error(rc, "read the log");
    log_bytes_ -= std::min(log_bytes_, static_cast<uint64_t>(s.number(0)));
  }
  TRY(sqlite3_stmt * raw, statement("DELETE FROM log WHERE position >= ?"));
  if (const int rc = Statement(raw).number(1, static_cast<int64_t>(position)).step(); rc != SQLITE_DONE)
    return error(rc, "clear the log");
  if (position == 0) log_empty_ = true;
  return {};
}

Result<raft::Term> Database::log_term(raft::Index index) {
  TRY(sqlite3_stmt * raw, statement("SELECT term FROM log WHERE position = ?"));
  Statement s(raw);
  const int rc = s.number(1, static_cast<int64_t>(index)).step();
  if (rc == SQLITE_DONE) return raft::Term{0};
  if (rc != SQLITE_ROW) return error(rc, "read the log");
  return static_cast<raft::Term>(s.number(0));
}

// The last entry that goes stays as the one that the log begins after, so that its term is known.
Result<> Database::compact_log(const raft::SnapshotPoint& applied, uint64_t keep_bytes) {
  constexpr int kAtOnce = 400;
  raft::Index begin = 0;
  uint64_t freed = 0;
  {
    TRY(sqlite3_stmt * raw,
        statement("SELECT position, length(entry) FROM log WHERE position <= ? ORDER BY position LIMIT ?"));
    Statement s(raw);
    s.number(1, static_cast<int64_t>(applied.index)).number(2, kAtOnce);
    uint64_t before = 0;
    int rc;
    while ((rc = s.step()) == SQLITE_ROW && log_bytes_ - freed > keep_bytes) {
      begin = static_cast<raft::Index>(s.number(0));
      freed += before;
      before = static_cast<uint64_t>(s.number(1));
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return error(rc, "read the log");
  }
  if (freed == 0) return {};
  const auto before = std::tuple(group_, log_bytes_);
  const auto done = in_transaction("store.log.compact", [&]() -> Result<> {
    if (LIMPET_FAILPOINT("store.log.shorten")) return fail(Errc::io, "failpoint store.log.shorten");
    // A start must not need what goes: the state that it finds is this one.
    Group g = *group_;
    // Later entries may have been applied since this was asked for.
    if (applied.index > g.applied.index) g.applied = applied;
    group_ = g;
    log_bytes_ -= freed;
    TRY(sqlite3_stmt * raw, statement("DELETE FROM log WHERE position < ?"));
    if (const int rc = Statement(raw).number(1, static_cast<int64_t>(begin)).step(); rc != SQLITE_DONE)
      return error(rc, "shorten the log");
    return set_blob(kGroup, encode(g));
  });
  if (!done) std::tie(group_, log_bytes_) = before;
  return done;
}

// Only what the newest row does not say is worth a page.
Result<> Database::write_group(const Transaction& t) {
  if (!group_) return {};
  Group g = *group_;
  if (t.hard_state) {
    if (LIMPET_FAILPOINT("store.group.term")) return fail(Errc::io, "failpoint store.group.term");
    g.hard_state = *t.hard_state;
  }
  if (t.base) g.applied = *t.base;
  if (t.install) {
    g.applied = t.install->point;
    g.membership = t.install->membership;
    g.membership_index = g.applied.index;
  }
  for (const raft::Entry& entry : t.apply) {
    if (entry.kind == raft::EntryKind::membership) {
      TRY(g.membership, raft::decode_membership(*entry.bytes));
      g.membership_index = entry.index;
      g.applied = {entry.index, entry.term};
    } else if (entry.term != g.applied.term) {
      g.applied = {entry.index, entry.term};
    }
  }
  if (g == *group_) return {};
  if (LIMPET_FAILPOINT("store.group.write")) return fail(Errc::io, "failpoint store.group.write");
  group_ = std::move(g);
  return set_blob(kGroup, encode(*group_));
}

Result<std::vector<raft::Entry>> Database::log_after(raft::Index after, raft::Index upto, size_t max_cost) {
  TRY(sqlite3_stmt * raw, statement("SELECT position, term, sum, entry FROM log WHERE position > ? AND "
                                    "position <= ? ORDER BY position"));
  Statement s(raw);
  s.number(1, static_cast<int64_t>(after)).number(2, static_cast<int64_t>(upto));
  std::vector<raft::Entry> out;
  size_t cost = 0;
  int rc;
  while ((rc = s.step()) == SQLITE_ROW) {
    raft::Entry entry;
    entry.index = static_cast<raft::Index>(s.number(0));
    entry.term = static_cast<raft::Term>(s.number(1));
    const std::string_view stored = s.bytes(3);
    if (stored.empty() || static_cast<uint8_t>(stored[0]) > 1 ||
        sum_of(entry.index, entry.term, stored) != static_cast<uint64_t>(s.number(2))) {
      return damaged(strf("entry %lld of the log fails its checksum", static_cast<long long>(s.number(0))));
    }
    entry.kind = static_cast<raft::EntryKind>(stored[0]);
    entry.bytes = share(std::string(stored.substr(1)));
    cost += entry.cost();
    if (!out.empty() && cost > max_cost) return out;
    out.push_back(std::move(entry));
  }
  if (rc != SQLITE_DONE) return error(rc, "read the log");
  return out;
}

}  // namespace limpet::store

#include "store/surgery.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/failpoint.h"
#include "store/data_dir_lock.h"
#include "store/database.h"
#include "store/durable.h"

namespace limpet::store {
namespace {

constexpr size_t kCheckpointBytes = 1u << 20;
constexpr size_t kPageRows = 200;

// Every row with its checksum, and every page.
Result<> check_whole(Database& db) {
  CHECK_OK(db.quick_check());
  TRY(const Newest newest, db.newest());
  const Revision last = revision_of(newest.id);
  for (Revision after = 0; after < last;) {
    TRY(const Database::History page, db.history(after, last, "", kPageRows));
    after = page.upto;
  }
  return {};
}

void put_into(Index& index, const Batch& batch) {
  for (const Change& c : batch.changes) {
    if (c.deleted) {
      index.erase(c.key);
    } else {
      index.put(c.key, c.id, c.created, static_cast<uint32_t>(c.value->size()), nullptr);
    }
  }
}

// The key after all that begin with the prefix; "": there is none.
std::string end_of(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

Result<std::vector<Item>> items_of(Database& db, const std::string& prefix, Revision revision) {
  std::vector<Item> out;
  const std::string end = end_of(prefix);
  for (bool first = true;; first = false) {
    TRY(std::vector<Row> rows, db.list_at(first ? prefix : out.back().key, first, end, revision, kPageRows));
    for (Row& row : rows) {
      out.push_back({std::move(row.key), row.created, revision_of(row.id), share(std::move(row.value))});
    }
    if (rows.size() < kPageRows) return out;
  }
}

// One more entry, which no member of before can have.
Result<raft::Entry> origin_entry(const Refounding& what, const Refounded& out, const Index& index,
                                 raft::SnapshotPoint at, int64_t time, std::vector<Op> amended) {
  Txn txn;
  txn.ops = std::move(amended);
  for (const auto& [key, slot] : index.map()) {
    const bool drop = std::any_of(what.drop.begin(), what.drop.end(),
                                  [&](const std::string& prefix) { return key.starts_with(prefix); });
    if (drop) txn.ops.push_back({Op::Type::remove, std::string(key), "", std::nullopt});
  }
  const std::string text =
      strf("{\"kind\":\"%s\",\"seconds\":%lld,\"revision\":%lld,\"from\":\"%016llx\",\"to\":\"%016llx\"}",
           what.kind, static_cast<long long>(what.time), static_cast<long long>(out.from),
           static_cast<unsigned long long>(out.before), static_cast<unsigned long long>(out.self));
  txn.ops.push_back({Op::Type::put, kOriginKey, text, std::nullopt});
  TRY(std::string bytes, encode_entry(txn, time));
  return raft::Entry{at.index, at.term, raft::EntryKind::normal, share(std::move(bytes))};
}

Result<Group> group_of(Database& db, const Newest& newest, Random& random) {
  TRY(auto group, db.group());
  // A file of before groups were known has rows.
  if (!group && newest.id != 0) group = Group::begin(random, newest.index);
  if (!group || group->applied.index == 0) {
    return fail(Errc::invalid_argument,
                db.path() + ": there is no state in it: this server waited to be told by a cluster");
  }
  return std::move(*group);
}

Result<> check_there(const std::string& path) {
  struct stat st{};
  if (stat(path.c_str(), &st) != 0 || st.st_size == 0) return fail(Errc::not_found, path + " is not there");
  return {};
}

}  // namespace

Result<Refounded> refound(Database& db, const Refounding& what, Random& random) {
  CHECK_OK(db.install_staged());
  Index index(0);
  Durable::Loaded state;
  CHECK_OK(Durable::read_state(db, index, state));
  TRY(Group group, group_of(db, state.newest, random));
  TRY(raft::Start start, db.start_of(group));
  Batch log;
  log.entries = std::move(start.tail);
  CHECK_OK(evaluate(log, index, revision_of(state.newest.id)));
  put_into(index, log);
  if (LIMPET_FAILPOINT("store.surgery.log")) return fail(Errc::io, "failpoint store.surgery.log");

  raft::Index last = group.applied.index;
  if (!log.entries.empty()) last = log.entries.back().index;
  Refounded out;
  out.cluster = group.cluster;
  out.before = group.self;
  out.self = Group::begin(random, 0).self;
  out.from = log.revision;
  out.entries = log.entries.size();
  group.self = out.self;
  group.hard_state = {group.hard_state.term + kTermJump, 0};
  group.applied = {last + 1, group.hard_state.term};
  group.membership = {{out.self}, {}, {}};
  group.membership_index = group.applied.index;
  if (group.hard_state.term > kMaxTerm)
    return fail(Errc::unsupported, db.path() + ": its term is higher than that of any group");

  CHECK_OK(db.add_rows(log.changes));
  std::vector<Op> amended;
  if (what.amend.ops) {
    TRY(const std::vector<Item> items, items_of(db, what.amend.prefix, log.revision));
    TRY(amended, what.amend.ops(items, out.self));
  }
  Batch origin;
  TRY(raft::Entry entry, origin_entry(what, out, index, group.applied, std::max(what.time, state.newest.time),
                                      std::move(amended)));
  origin.entries.push_back(std::move(entry));
  CHECK_OK(evaluate(origin, index, log.revision + kRevisionJump - 1));
  put_into(index, origin);
  out.revision = origin.revision;
  out.objects = index.map().size() - 1;
  CHECK_OK(db.add_rows(origin.changes));
  CHECK_OK(db.refound(group, out.revision));
  if (LIMPET_FAILPOINT("store.surgery.written")) return fail(Errc::io, "failpoint store.surgery.written");
  return out;
}

Result<Refounded> recover_database(const std::string& path, int64_t wall_seconds, Random& random,
                                   const Amend& amend) {
  CHECK_OK(check_there(path));
  TRY(const FileLock lock, FileLock::acquire(path + ".lock", path));
  TRY(const auto db, Database::open(path, kCheckpointBytes));
  if (LIMPET_FAILPOINT("store.surgery.opened")) return fail(Errc::io, "failpoint store.surgery.opened");
  CHECK_OK(check_whole(*db));
  Refounded out;
  CHECK_OK(db->atomically("store.surgery.commit", [&]() -> Result<> {
    TRY(out, refound(*db, {"recover", wall_seconds, {}, amend}, random));
    return {};
  }));
  if (LIMPET_FAILPOINT("store.surgery.close")) return fail(Errc::io, "failpoint store.surgery.close");
  CHECK_OK(db->close());
  return out;
}

Result<Survey> survey_database(const std::string& path, const std::string& prefix, Random& random) {
  CHECK_OK(check_there(path));
  TRY(const FileLock lock, FileLock::acquire(path + ".lock", path));
  TRY(const auto db, Database::open(path, kCheckpointBytes));
  TRY(const Newest newest, db->newest());
  TRY(const Group group, group_of(*db, newest, random));
  TRY(const raft::Start start, db->start_of(group));
  Survey out{group.cluster, group.self, start.membership, {}};
  for (const raft::Entry& entry : start.tail) {
    if (entry.kind != raft::EntryKind::membership) continue;
    TRY(out.membership, raft::decode_membership(*entry.bytes));
  }
  TRY(out.items, items_of(*db, prefix, revision_of(newest.id)));
  CHECK_OK(db->close());
  return out;
}

}  // namespace limpet::store

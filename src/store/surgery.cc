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

// One more entry, which no member of before can have.
Result<raft::Entry> origin_entry(const Refounding& what, const Refounded& out, const Index& index,
                                 raft::SnapshotPoint at, int64_t time) {
  Txn txn;
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

  Batch origin;
  TRY(raft::Entry entry,
      origin_entry(what, out, index, group.applied, std::max(what.time, state.newest.time)));
  origin.entries.push_back(std::move(entry));
  CHECK_OK(evaluate(origin, index, log.revision + kRevisionJump - 1));
  put_into(index, origin);
  out.revision = origin.revision;
  out.objects = index.map().size() - 1;
  CHECK_OK(db.add_rows(log.changes));
  CHECK_OK(db.add_rows(origin.changes));
  CHECK_OK(db.refound(group, out.revision));
  if (LIMPET_FAILPOINT("store.surgery.written")) return fail(Errc::io, "failpoint store.surgery.written");
  return out;
}

Result<Refounded> recover_database(const std::string& path, int64_t wall_seconds, Random& random) {
  struct stat st{};
  if (stat(path.c_str(), &st) != 0 || st.st_size == 0) return fail(Errc::not_found, path + " is not there");
  TRY(const FileLock lock, FileLock::acquire(path + ".lock", path));
  TRY(const auto db, Database::open(path, kCheckpointBytes));
  if (LIMPET_FAILPOINT("store.surgery.opened")) return fail(Errc::io, "failpoint store.surgery.opened");
  CHECK_OK(check_whole(*db));
  Refounded out;
  CHECK_OK(db->atomically("store.surgery.commit", [&]() -> Result<> {
    TRY(out, refound(*db, {"recover", wall_seconds, {}}, random));
    return {};
  }));
  if (LIMPET_FAILPOINT("store.surgery.close")) return fail(Errc::io, "failpoint store.surgery.close");
  CHECK_OK(db->close());
  return out;
}

}  // namespace limpet::store

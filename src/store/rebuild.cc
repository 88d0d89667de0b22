#include "store/rebuild.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/json.h"

namespace limpet::store {
namespace {

constexpr size_t checkpoint_bytes = 1u << 20;
constexpr size_t ops_at_once = 1000;

bool exists(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

// What was sealed and opened again is what the store gave: that it is none of a state is damage of then.
Error as_damage(Error error) {
  if (error.code == Errc::invalid_argument) error.code = Errc::corrupt;
  return error;
}

std::string mark(Revision from, int64_t time) {
  json::Writer w;
  w.begin_object().field("revision", from).field("time", time).end_object();
  return w.take();
}

}  // namespace

Result<std::unique_ptr<Rebuild>> Rebuild::begin(const std::string& path, Options options, Random& random) {
  for (const char* suffix : {"", "-wal"}) {
    if (exists(path + suffix)) return fail(Errc::already_exists, path + suffix + " is there already");
  }
  if (options.term > INT32_MAX - kTermGap - 1)
    return fail(Errc::corrupt, "the term of the state is out of range");
  Group group = Group::begin(random, 0);
  if (!options.cluster.empty()) {
    if (options.cluster.size() != group.cluster.size())
      return fail(Errc::invalid_argument, "the id of a cluster has 16 bytes");
    group.cluster = options.cluster;
  }
  group.hard_state.term = options.term + kTermGap;
  group.applied.term = group.hard_state.term;
  TRY(auto db, Database::open(path, checkpoint_bytes));
  CHECK_OK(db->found(group));
  CHECK_OK(db->next_boot_unwritten(static_cast<int64_t>(group.hard_state.term)));
  return std::unique_ptr<Rebuild>(new Rebuild(std::move(options), std::move(group), std::move(db)));
}

Result<> Rebuild::add(std::string_view piece) {
  if (LIMPET_FAILPOINT("store.rebuild.add")) return fail(Errc::io, "failpoint store.rebuild.add");
  if (whole_) return fail(Errc::corrupt, "the state goes on behind its end");
  TRY(const SnapshotPart part, decode_part(piece));
  if (part.rows.empty() && !part.end) return fail(Errc::corrupt, "the state ends without an end");
  whole_ = part.end.has_value();
  if (whole_) meta_.point = {std::max<raft::Index>(part.end->index, 1), group_.hard_state.term};
  Transaction t;
  t.stage = raft::SnapshotChunk{meta_, begun_ ? "on" : "", "on", whole_, share(std::string(piece))};
  begun_ = true;
  std::vector<SharedBytes> previous;
  auto written = db_->write(t, {}, previous);
  if (!written) return std::unexpected(as_damage(std::move(written).error()));
  if (db_->checkpoint_due()) return db_->checkpoint();
  return {};
}

Result<Rebuild::Made> Rebuild::finish() {
  if (!whole_) return fail(Errc::corrupt, "the end of the state is missing");
  CHECK_OK(install());
  TRY(Made made, raise());
  CHECK_OK(db_->checkpoint());
  CHECK_OK(db_->quick_check());
  if (LIMPET_FAILPOINT("store.rebuild.close")) return fail(Errc::io, "failpoint store.rebuild.close");
  CHECK_OK(db_->close());
  return made;
}

Result<> Rebuild::install() {
  Transaction t;
  t.install = meta_;
  std::vector<SharedBytes> previous;
  return db_->write(t, {}, previous);
}

// One more entry, which no member of before can have, far above all revisions that one of them can have
// given.
Result<Rebuild::Made> Rebuild::raise() {
  TRY(const Newest newest, db_->newest());
  Index index(0);
  Txn txn;
  std::vector<RowId> gone;
  CHECK_OK(db_->each_version([&](const Version& v) -> Result<> {
    if (v.size < 0) {  // the newest row of the state may be a deletion
      gone.push_back(v.id);
      return {};
    }
    const bool drop = std::any_of(options_.drop.begin(), options_.drop.end(),
                                  [&](const std::string& prefix) { return v.key.starts_with(prefix); });
    if (drop || v.key == kMark) gone.push_back(v.id);
    if (drop) txn.ops.push_back({Op::Type::remove, std::string(v.key), "", {}});
    index.put(v.key, v.id, v.created, static_cast<uint32_t>(v.size), nullptr);
    return {};
  }));
  Made made{revision_of(newest.id), revision_of(newest.id) + kRevisionGap, 0, group_.cluster};
  if (txn.ops.size() > ops_at_once) return fail(Errc::corrupt, "the state names too many members");
  made.objects = index.map().size() - txn.ops.size();
  txn.ops.push_back({Op::Type::put, kMark, mark(made.from, options_.time), {}});
  TRY(std::string bytes, encode_entry(txn, std::max(options_.time, newest.time)));

  Batch batch;
  batch.entries.push_back(
      {meta_.point.index + 1, meta_.point.term, raft::EntryKind::normal, share(std::move(bytes))});
  CHECK_OK(evaluate(batch, index, made.revision - 1));
  Transaction t;
  t.apply = batch.entries;
  t.log = false;
  std::vector<SharedBytes> previous;
  CHECK_OK(db_->write(t, batch.changes, previous));
  for (const Change& change : batch.changes) {
    if (change.deleted) gone.push_back(change.id);
  }
  CHECK_OK(db_->compact(gone, made.revision));
  return made;
}

}  // namespace limpet::store

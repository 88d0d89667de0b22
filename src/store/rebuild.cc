#include "store/rebuild.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/failpoint.h"

namespace limpet::store {
namespace {

constexpr size_t checkpoint_bytes = 1u << 20;

bool exists(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

// What was sealed and opened again is what the store gave: that it is none of a state is damage of then.
Error as_damage(Error error) {
  if (error.code == Errc::invalid_argument) error.code = Errc::corrupt;
  return error;
}

}  // namespace

Result<std::unique_ptr<Rebuild>> Rebuild::begin(const std::string& path, Options options, Random& random) {
  for (const char* suffix : {"", "-wal"}) {
    if (exists(path + suffix)) return fail(Errc::already_exists, path + suffix + " is there already");
  }
  if (options.term > kMaxTerm - kTermJump)
    return fail(Errc::corrupt, "the term of the state is out of range");
  const Group fresh = Group::begin(random, 0);
  if (options.cluster.empty()) options.cluster = fresh.cluster;
  if (options.cluster.size() != fresh.cluster.size())
    return fail(Errc::invalid_argument, "the id of a cluster has 16 bytes");
  options.term = std::max<uint64_t>(options.term, 1);
  Group group = Group::wait(random, options.cluster);
  const raft::MemberId self = group.self;
  group.hard_state.term = options.term;
  TRY(auto db, Database::open(path, checkpoint_bytes));
  CHECK_OK(db->found(std::move(group)));
  return std::unique_ptr<Rebuild>(new Rebuild(std::move(options), random, self, std::move(db)));
}

Result<> Rebuild::add(std::string_view piece) {
  if (LIMPET_FAILPOINT("store.rebuild.add")) return fail(Errc::io, "failpoint store.rebuild.add");
  if (whole_) return fail(Errc::corrupt, "the state goes on behind its end");
  TRY(const SnapshotPart part, decode_part(piece));
  if (part.rows.empty() && !part.end) return fail(Errc::corrupt, "the state ends without an end");
  whole_ = part.end.has_value();
  if (whole_) meta_.point = {std::max<raft::Index>(part.end->index, 1), options_.term};
  Transaction t;
  t.stage = raft::SnapshotChunk{meta_, begun_ ? "on" : "", "on", whole_, share(std::string(piece))};
  begun_ = true;
  std::vector<SharedBytes> previous;
  auto written = db_->write(t, {}, previous);
  if (!written) return std::unexpected(as_damage(std::move(written).error()));
  if (db_->checkpoint_due()) return db_->checkpoint();
  return {};
}

Result<Refounded> Rebuild::finish() {
  if (!whole_) return fail(Errc::corrupt, "the end of the state is missing");
  Refounded made;
  const Refounding what{"restore", options_.time, options_.drop};
  CHECK_OK(db_->atomically("store.rebuild.commit", [&]() -> Result<> {
    TRY(made, refound(*db_, what, random_));
    return {};
  }));
  CHECK_OK(db_->checkpoint());
  CHECK_OK(db_->quick_check());
  if (LIMPET_FAILPOINT("store.rebuild.close")) return fail(Errc::io, "failpoint store.rebuild.close");
  CHECK_OK(db_->close());
  return made;
}

}  // namespace limpet::store

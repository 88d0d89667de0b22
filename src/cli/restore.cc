#include "cli/restore.h"

#include <algorithm>

#include "base/atomic_file.h"
#include "cluster/device.h"
#include "cluster/keys.h"
#include "store/data_dir_lock.h"

namespace limpet::cli {
namespace {

// True of the servers of before alone: who they were, and keys wrapped for them. What is known of devices
// (limpet/devices/) and of certificates that are refused (limpet/denied/) stays true: agents go on under the
// same authority, and a server of before is taken off with `limpet node remove`, as any other.
const std::vector<std::string> of_before = {std::string(cluster::members_prefix),
                                            std::string(cluster::wraps_prefix),
                                            std::string(cluster::keys_prefix)};
constexpr std::string_view known_files[] = {"ca.key", "ca.crt", "sa.key"};

class Restore {
 public:
  Restore(backup::Staged& staged, const backup::Label& label, bool new_cluster, int64_t now)
      : staged_(staged), label_(label), new_cluster_(new_cluster), now_(now) {}

  Result<> feed(std::string_view plain) { return reader_.feed(plain); }
  Result<Restored> finish() {
    CHECK_OK(reader_.finish());
    Restored out;
    TRY(out.made, rebuild_->finish());
    if (out.made.from != manifest_.revision)
      return fail(Errc::corrupt, "its state is not of the revision that it says");
    out.manifest = std::move(manifest_);
    return out;
  }

 private:
  Result<> begin(backup::Manifest manifest) {
    manifest_ = std::move(manifest);
    if (manifest_.cluster != label_.cluster || manifest_.revision != label_.revision)
      return fail(Errc::corrupt, "its head and its manifest differ");
    const auto schema = static_cast<int64_t>(store::Database::kSteps.size());
    if (manifest_.store_schema > schema) {
      return fail(
          Errc::unsupported,
          strf("its store has schema version %lld, this limpet knows up to %lld: install limpet %s or newer",
               static_cast<long long>(manifest_.store_schema), static_cast<long long>(schema),
               manifest_.limpet.c_str()));
    }
    store::Rebuild::Options options{.cluster = new_cluster_ ? "" : manifest_.cluster,
                                    .term = static_cast<uint64_t>(manifest_.term),
                                    .time = std::max(now_, manifest_.time),
                                    .drop = of_before};
    TRY(rebuild_, store::Rebuild::begin(staged_.store_file(), std::move(options), random_));
    return {};
  }
  Result<> file(std::string_view name, std::string_view bytes) {
    if (std::find(std::begin(known_files), std::end(known_files), name) == std::end(known_files)) {
      return fail(Errc::unsupported, "it holds " + std::string(name) +
                                         ", which this limpet does not know: it was "
                                         "made by a newer limpet");
    }
    return staged_.put(name, bytes);
  }

  backup::Staged& staged_;
  const backup::Label& label_;
  bool new_cluster_;
  int64_t now_;
  SystemRandom random_;
  backup::Manifest manifest_;
  std::unique_ptr<store::Rebuild> rebuild_;
  backup::RecordReader reader_{{[this](backup::Manifest m) { return begin(std::move(m)); },
                                [this](std::string_view n, std::string_view b) { return file(n, b); },
                                [this](std::string_view piece) { return rebuild_->add(piece); }}};
};

}  // namespace

Result<Restored> restore(backup::BackupInput& input, const pki::SealKey& key, const backup::Places& places,
                         bool new_cluster, int64_t now) {
  CHECK_OK(make_directories(places.data_dir, 0700));
  TRY(const auto lock, store::lock_data_dir(places.data_dir));
  TRY(auto staged, backup::Staged::begin(places));
  Restored out;
  {
    Restore work(staged, input.header().label, new_cluster, now);
    CHECK_OK(input.read(key, [&](std::string_view plain) { return work.feed(plain); }));
    TRY(out, work.finish());
  }
  CHECK_OK(staged.complete());
  return out;
}

}  // namespace limpet::cli

#include "daemon/backup_source.h"

#include "store/consensus.h"
#include "store/database.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr int64_t confirm_ms = 3'000;

}  // namespace

BackupSource::BackupSource(Device& device) : device_(device), patience_(device.loop, "backup-confirm") {}

void BackupSource::next(Done done) {
  done_ = std::move(done);
  if (stage_ == Stage::beginning) return confirm();
  if (stage_ == Stage::state) return read();
  std::string text = stage_ == Stage::end ? backup::end_record(records_) : "";
  stage_ = Stage::over;
  std::exchange(done_, nullptr)(std::move(text));
}

// So that what any server acknowledged before is in it. Where no majority answers any more, the state of this
// one is better than none.
void BackupSource::confirm() {
  asked_ = true;
  const auto settled = [this, weak = std::weak_ptr<char>(alive_)](bool agreed) {
    if (weak.expired() || !std::exchange(asked_, false)) return;
    patience_.stop();
    manifest_.confirmed = agreed;
    read();
  };
  patience_.start(confirm_ms, [settled] { settled(false); });
  device_.store->consensus().barrier([settled](Result<> r) { settled(r.has_value()); });
}

void BackupSource::read() {
  device_.store->read_state(next_, [this, weak = std::weak_ptr<char>(alive_)](Result<store::StatePart> part) {
    if (weak.expired()) return;
    auto text = took(std::move(part));
    std::exchange(done_, nullptr)(std::move(text));
  });
}

Result<std::string> BackupSource::took(Result<store::StatePart> part) {
  if (!part) {
    stage_ = Stage::over;
    return std::unexpected(std::move(part).error().with("read the store"));
  }
  std::string text;
  if (stage_ == Stage::beginning) text = opening(*part);
  text += backup::record(backup::RecordType::state, part->bytes);
  records_++;
  next_ = std::move(part->next);
  stage_ = next_.empty() ? Stage::end : Stage::state;
  return text;
}

std::string BackupSource::opening(const store::StatePart& part) {
  manifest_.cluster = device_.store->consensus().cluster();
  manifest_.node = device_.node_name;
  manifest_.limpet = LIMPET_VERSION;
  manifest_.time = device_.clock.wall().seconds;
  manifest_.revision = part.revision;
  manifest_.term = static_cast<int64_t>(part.term);
  manifest_.store_schema = static_cast<int64_t>(store::Database::kSteps.size());
  manifest_.state_bytes = static_cast<int64_t>(part.size);
  // Who the cluster is. The leaves of this device are made anew.
  const std::pair<const char*, const std::string*> files[] = {
      {"ca.key", &device_.identity.ca_key_pem},
      {"ca.crt", &device_.identity.ca_pem},
      {"sa.key", &device_.identity.service_account_key_pem}};
  std::string records;
  for (const auto& [name, bytes] : files) {
    if (bytes->empty()) continue;  // an authority without its key
    manifest_.files.push_back({name, static_cast<int64_t>(bytes->size())});
    records += backup::file_record(name, *bytes);
  }
  records_ = 1 + manifest_.files.size();
  return backup::record(backup::RecordType::manifest, backup::manifest_json(manifest_)) + records;
}

}  // namespace limpet::daemon

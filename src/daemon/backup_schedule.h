// Backups by the clock: one in backup.directory every backup.every, the newest backup.keep of them kept.
//
//   waiting ─due─▶ looking (pool) ─▶ reading (store) ⇄ writing (pool) ─▶ finishing (pool) ─▶ waiting
//
// Only the leader makes them, sealed for backup.recipientFile. When the next one is due is told by the newest
// file of this cluster in the directory, so that neither restarts nor another leader make more of them; when
// the store's revision is the one of that file, nothing is written. A directory that is not there is a medium
// that is not there: it is never made, said once, and looked for again.
//
// Owned by the backup part, on the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backup/catalog.h"
#include "backup/file.h"
#include "base/json.h"
#include "daemon/backup_source.h"
#include "daemon/part.h"
#include "loop/loop.h"

namespace limpet::daemon {

class BackupSchedule {
 public:
  // busy: another backup is under way, which comes first.
  BackupSchedule(Device& device, std::function<bool()> busy);
  BackupSchedule(const BackupSchedule&) = delete;

  // Begins, ends or changes as device.config says now. What is under way is given up.
  void configure();
  // Whether this server leads from now on.
  void lead(bool leads);
  bool running() const { return job_ != nullptr; }
  // {"directory","problem","last":{"file","time","revision","bytes"}}, or null when none is configured.
  void describe(json::Writer& w) const;

 private:
  // What the pool works on while the loop waits for it.
  struct Job {
    Config config;
    std::string cluster;
    std::optional<pki::PublicKey> recipient;
    std::optional<backup::Found> newest;
    std::optional<backup::BackupWriter> writer;
    backup::Found made;
    Result<> outcome;
  };
  using JobPtr = std::shared_ptr<Job>;

  static Result<> look(Job& job);
  static Result<> create(Job& job, const backup::Manifest& manifest);
  static Result<> finish(Job& job);
  void due();
  void looked();
  void read();
  void write(std::string text);
  // Does that on the pool, then `then`, unless it failed.
  void on_pool(std::function<Result<>(Job&)> work, std::function<void()> then);
  void later(loop::Task f);
  void done();
  void failed(const Error& error);
  void wait(int64_t ms);
  void wait_for_next();

  Device& device_;
  std::function<bool()> busy_;
  bool leads_ = false;
  loop::Timer timer_;
  loop::Work work_;
  JobPtr job_;
  std::unique_ptr<BackupSource> source_;
  std::optional<backup::Found> last_;
  std::string problem_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon

#include "daemon/backup_schedule.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/log.h"
#include "store/consensus.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr int64_t begin_ms = 5'000;  // a device that starts has better things to do
constexpr int64_t retry_ms = 300'000;
constexpr size_t max_key_file = 64u << 10;

bool is_directory(const std::string& path) {
  struct stat st{};
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

}  // namespace

BackupSchedule::BackupSchedule(Device& device, std::function<bool()> busy)
    : device_(device), busy_(std::move(busy)), timer_(device.loop, "backup") {}

void BackupSchedule::configure() {
  source_.reset();
  work_.forget();
  job_.reset();
  last_.reset();
  problem_.clear();
  timer_.stop();
  if (leads_ && !device_.config.backup.directory.empty())
    wait(std::min(begin_ms, device_.config.backup.every_ms));
}

void BackupSchedule::lead(bool leads) {
  leads_ = leads;
  configure();
}

void BackupSchedule::wait(int64_t ms) {
  timer_.start(ms, [this] { due(); });
}

// From the one that there is. A clock that was set changes that by one time at most.
void BackupSchedule::wait_for_next() {
  const int64_t every = device_.config.backup.every_ms;
  const int64_t age_ms = last_ ? (device_.clock.wall().seconds - last_->label.time) * 1000 : 0;
  wait(std::clamp<int64_t>(every - age_ms, 1000, every));
}

// After this callback, if what is under way still is.
void BackupSchedule::later(loop::Task f) {
  device_.loop.defer([this, weak = std::weak_ptr<char>(alive_), job = job_.get(), f = std::move(f)] {
    if (!weak.expired() && job_.get() == job) f();
  });
}

void BackupSchedule::due() {
  if (busy_()) return wait(std::min(retry_ms, device_.config.backup.every_ms));
  job_ = std::make_shared<Job>();
  job_->config = device_.config;
  job_->cluster = device_.store->consensus().cluster();
  on_pool(look, [this] { looked(); });
}

Result<> BackupSchedule::look(Job& job) {
  const std::string& directory = job.config.backup.directory;
  if (!is_directory(directory))
    return fail(Errc::not_found, directory + " is not there: is its medium mounted?");
  auto pem = read_file(job.config.backup.recipient_file, max_key_file);
  if (!pem) return std::unexpected(std::move(pem).error().with("the recipient"));
  auto key = pki::PublicKey::from_pem(*pem);
  if (!key)
    return std::unexpected(std::move(key).error().with("the recipient, " + job.config.backup.recipient_file));
  job.recipient = std::move(*key);
  const auto found = backup::find_scheduled(directory, job.cluster);
  if (!found.empty()) job.newest = found.front();
  return {};
}

void BackupSchedule::looked() {
  last_ = job_->newest;
  const int64_t age_ms = last_ ? (device_.clock.wall().seconds - last_->label.time) * 1000 : 0;
  const bool young = last_ && age_ms >= 0 && age_ms < job_->config.backup.every_ms;
  const bool unchanged = last_ && last_->label.revision == device_.store->durable().revision();
  if (young || unchanged) {
    done();
    return unchanged ? wait(device_.config.backup.every_ms) : wait_for_next();
  }
  source_ = std::make_unique<BackupSource>(device_);
  read();
}

void BackupSchedule::read() {
  source_->next([this](Result<std::string> text) {
    if (!text) return failed(text.error());
    // Not from inside the source, which may go.
    later([this, text = std::move(*text)] { write(text); });
  });
}

void BackupSchedule::write(std::string text) {
  if (text.empty()) {
    return on_pool(finish, [this] {
      last_ = job_->made;
      log::info("backup written", {{"file", job_->config.backup.directory + "/" + last_->name},
                                   {"revision", last_->label.revision},
                                   {"bytes", static_cast<int64_t>(last_->bytes)}});
      done();
      wait_for_next();
    });
  }
  on_pool(
      [text = std::move(text), manifest = source_->manifest()](Job& job) -> Result<> {
        if (!job.writer) CHECK_OK(create(job, manifest));
        return job.writer->write(text);
      },
      [this] { read(); });
}

Result<> BackupSchedule::create(Job& job, const backup::Manifest& manifest) {
  CHECK_OK(backup::check_room(job.config.backup.directory, backup::estimate(manifest)));
  SystemRandom random;
  job.made.label = {manifest.cluster, manifest.time, manifest.revision, true};
  job.made.name = backup::file_name(job.made.label);
  TRY(const backup::Head head, backup::make_head(job.made.label, *job.recipient, random));
  TRY(auto writer,
      backup::BackupWriter::create(job.config.backup.directory + "/" + job.made.name, true, head));
  job.writer.emplace(std::move(writer));
  return {};
}

Result<> BackupSchedule::finish(Job& job) {
  TRY(job.made.bytes, job.writer->finish());
  const auto gone =
      backup::retain(job.config.backup.directory, job.cluster, static_cast<size_t>(job.config.backup.keep));
  if (!gone) return std::unexpected(gone.error());
  return {};
}

void BackupSchedule::on_pool(std::function<Result<>(Job&)> work, std::function<void()> then) {
  work_.start(
      device_.loop,
      [job = job_, work = std::move(work)] {
        job->outcome = work(*job);
        if (!job->outcome) job->writer.reset();  // and what it has written
      },
      [this, then = std::move(then)] {
        if (!job_->outcome) return failed(job_->outcome.error());
        then();
      });
}

// Also when there was nothing to do: what was in the way is not any more.
void BackupSchedule::done() {
  source_.reset();
  job_.reset();
  if (!problem_.empty())
    log::notice("scheduled backups go on", {{"directory", device_.config.backup.directory}});
  problem_.clear();
}

void BackupSchedule::failed(const Error& error) {
  if (problem_ != error.message) {
    problem_ = error.message;
    log::warning("no scheduled backup could be made, trying again", {{"error", error}});
  }
  job_->writer.reset();
  later([this] {  // not from inside a callback of the source
    source_.reset();
    job_.reset();
    wait(std::min(retry_ms, device_.config.backup.every_ms));
  });
}

void BackupSchedule::describe(json::Writer& w) const {
  const std::string& directory = device_.config.backup.directory;
  if (directory.empty()) {
    w.null();
    return;
  }
  w.begin_object().field("directory", directory).field("problem", problem_);
  if (last_) {
    w.key("last").begin_object().field("file", last_->name).field("revision", last_->label.revision);
    w.field("time", rfc3339({last_->label.time, 0})).field("bytes", static_cast<int64_t>(last_->bytes));
    w.end_object();
  }
  w.end_object();
}

}  // namespace limpet::daemon

#include "image/layer_jobs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/tree.h"

namespace limpet::image {
namespace {

constexpr uint64_t reserve_bytes = 16ull << 20;  // of the disk, for everyone else

}  // namespace

struct LayerJobs::Job {
  enum class State { waiting, checking, downloading, ready, unpacking } state = State::waiting;
  uint64_t id = 0;
  LayerRequest request;
  std::vector<Waiter> waiters;
  std::unique_ptr<Download> download;
  std::unique_ptr<Unpacking> unpacking;
  loop::Work work;
  uint64_t max_bytes = 0;     // it may unpack to
  bool blob_checked = false;  // since it was read last; a blob that lay about may have rotted

  std::string temporary_name() const { return "layer-" + std::to_string(id); }
};

class LayerJobs::Ticket final : public Operation {
 public:
  Ticket(LayerJobs& jobs, uint64_t id) : jobs_(jobs), id_(id) {}
  ~Ticket() override { jobs_.leave(id_); }

 private:
  LayerJobs& jobs_;
  uint64_t id_;
};

LayerJobs::LayerJobs(Transport& transport, const Store& store, UnpackOptions options)
    : transport_(transport),
      store_(store),
      options_(std::move(options)),
      pump_(transport.loop(), "image.jobs") {}

LayerJobs::~LayerJobs() = default;

std::unique_ptr<Operation> LayerJobs::make(LayerRequest request, Done done) {
  const uint64_t waiter = next_id_++;
  const auto same = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& job) {
    return job->request.layer.chain_id == request.layer.chain_id;
  });
  if (same != jobs_.end()) {
    (*same)->waiters.push_back({waiter, std::move(request.progress), std::move(done)});
    (*same)->request.keep_blob |= request.keep_blob;
    (*same)->request.again |= request.again;
    if ((*same)->request.sessions.empty()) (*same)->request.sessions = std::move(request.sessions);
  } else {
    auto job = std::make_unique<Job>();
    job->id = next_id_++;
    job->waiters.push_back({waiter, std::move(request.progress), std::move(done)});
    job->request = std::move(request);
    jobs_.push_back(std::move(job));
  }
  pump_soon();
  return std::make_unique<Ticket>(*this, waiter);
}

// Later, so that nobody is called back, and no job vanishes, below a caller.
void LayerJobs::pump_soon() {
  pump_.start(0, [this] { pump(); });
}

bool LayerJobs::drop_waiter(Job& job, uint64_t waiter) {
  const auto mine =
      std::find_if(job.waiters.begin(), job.waiters.end(), [&](const Waiter& w) { return w.id == waiter; });
  if (mine == job.waiters.end()) return false;
  job.waiters.erase(mine);
  return true;
}

void LayerJobs::leave(uint64_t waiter) {
  for (const auto& job : finishing_) {
    if (drop_waiter(*job, waiter)) return;
  }
  for (auto it = jobs_.begin(); it != jobs_.end(); ++it) {
    if (!drop_waiter(**it, waiter)) continue;
    // A job that reached the disk is finished all the same: its work is worth keeping.
    if ((*it)->waiters.empty() && !(*it)->work.busy()) {
      sweep(**it);
      jobs_.erase(it);
      pump_soon();
    }
    return;
  }
}

// Takes away what a job unpacked in vain.
void LayerJobs::sweep(const Job& job) {
  if (job.state != Job::State::unpacking) return;
  discard(store_.temporary(job.temporary_name()));
}

void LayerJobs::discard(std::string path) {
  leftovers_.push_back(std::move(path));
  if (!sweeper_.busy()) sweep_next();
}

void LayerJobs::sweep_next() {
  if (leftovers_.empty()) return;
  const std::string path = std::move(leftovers_.back());
  leftovers_.pop_back();
  sweeper_.start(transport_.loop(), [path] { (void)remove_tree(path); }, [this] { sweep_next(); });
}

bool LayerJobs::being_made(const std::string& chain_id) const {
  return std::any_of(jobs_.begin(), jobs_.end(),
                     [&](const auto& job) { return job->request.layer.chain_id == chain_id; });
}

bool LayerJobs::blob_wanted(const Job& except) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& job) {
    return job.get() != &except && job->request.layer.digest == except.request.layer.digest;
  });
}

void LayerJobs::pump() {
  size_t downloads = 0;
  bool unpacking = false;
  for (const auto& job : jobs_) {
    downloads += job->state == Job::State::downloading ? 1 : 0;
    unpacking = unpacking || job->state == Job::State::unpacking;
  }
  for (const auto& job : jobs_) {
    if (job->state != Job::State::waiting) continue;
    const LayerRequest& r = job->request;
    if (!r.again && store_.has_layer(r.layer)) return complete(*job, {});  // somebody else made it meanwhile
    const bool same_blob = std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& other) {
      return (other->state == Job::State::downloading || other->state == Job::State::checking) &&
             other->request.layer.digest == r.layer.digest;
    });
    if (same_blob) continue;
    if (store_.has_blob(r.layer.digest, r.layer.size)) {
      if (job->blob_checked) {
        job->state = Job::State::ready;
      } else {
        start_check(*job);
      }
      continue;
    }
    if (r.sessions.empty()) return complete(*job, fail(Errc::not_found, "its blob is not in the store"));
    if (downloads >= max_downloads) continue;
    ++downloads;
    start_download(*job);
  }
  if (unpacking) return;
  for (const auto& job : jobs_) {
    if (job->state != Job::State::ready) continue;
    const auto& parents = job->request.parents;
    if (!parents.empty() && being_made(parents.front())) continue;
    return start_unpack(*job);
  }
}

void LayerJobs::tell(Job& job, uint64_t done, LayerProgress::Phase phase) {
  const LayerProgress progress{job.request.layer.digest, done, job.request.layer.size, phase};
  // Whoever listens must not cancel from in here.
  for (const Waiter& w : job.waiters) {
    if (w.progress) w.progress(progress);
  }
}

// A blob that is there is read once more before it is believed: what does not match goes, and is got anew.
void LayerJobs::start_check(Job& job) {
  job.state = Job::State::checking;
  auto intact = std::make_shared<bool>(false);
  job.work.start(
      transport_.loop(),
      [intact, store = store_, digest = job.request.layer.digest] { *intact = store.blob_intact(digest); },
      [this, &job, intact] {
        if (job.waiters.empty()) return complete(job, fail(Errc::cancelled, "nobody waits for it"));
        job.blob_checked = *intact;
        job.state = Job::State::waiting;
        pump_soon();
      });
}

// What its blob still needs of the disk: an attempt before may have left a part.
uint64_t LayerJobs::missing_bytes(const Job& job) const {
  const Layer& layer = job.request.layer;
  struct stat st{};
  if (stat(store_.partial_path(layer.digest).c_str(), &st) != 0 || st.st_size < 0) return layer.size;
  return layer.size - std::min(static_cast<uint64_t>(st.st_size), layer.size);
}

void LayerJobs::start_download(Job& job) {
  const Layer& layer = job.request.layer;
  const uint64_t free = disk_free_bytes(store_.root()), missing = missing_bytes(job);
  uint64_t others = 0;
  for (const auto& other : jobs_) {
    if (other->download) others += missing_bytes(*other);
  }
  const bool whole = missing == 0;  // and not yet in its place
  if (!whole && free >= missing + reserve_bytes && free < missing + others + reserve_bytes)
    return;  // each alone fits, all do not: one after the other
  job.state = Job::State::downloading;
  if (!whole && free < missing + reserve_bytes) {
    return give_back(
        job, partial_files(job),
        {Errc::exhausted,
         strf("no space left on device: the layer has %llu bytes, of which %llu are missing",
              static_cast<unsigned long long>(layer.size), static_cast<unsigned long long>(missing)),
         0});
  }
  job.download = std::make_unique<Download>(
      transport_, store_, job.request.sessions, layer.digest, layer.size,
      [this, &job](uint64_t done) { tell(job, done, LayerProgress::Phase::downloading); },
      [this, &job](Result<> result) {
        job.download.reset();
        // A part that cannot grow must not take the room of those who keep the device alive.
        if (!result && result.error().code == Errc::exhausted)
          return give_back(job, partial_files(job), std::move(result).error());
        if (!result) return complete(job, std::move(result));
        job.blob_checked = true;
        job.state = Job::State::ready;
        pump_soon();
      });
}

void LayerJobs::start_unpack(Job& job) {
  job.state = Job::State::unpacking;
  tell(job, job.request.layer.size, LayerProgress::Phase::unpacking);
  struct Prepared {
    Result<> result;
  };
  auto prepared = std::make_shared<Prepared>();
  const std::string directory = store_.temporary(job.temporary_name());
  job.work.start(
      transport_.loop(),
      [prepared, directory] {
        prepared->result = remove_tree(directory);
        if (prepared->result) prepared->result = make_directories(directory + "/fs", 0755);
      },
      [this, &job, prepared, directory] {
        if (!prepared->result) return complete(job, prepared->result);
        const UnpackOptions options = unpack_options();
        job.max_bytes = options.max_bytes;
        job.unpacking = std::make_unique<Unpacking>(
            transport_.loop(), options, "layer", store_.blob_path(job.request.layer.digest),
            directory + "/fs",
            [this, &job](Result<UnpackReport> report) { unpacked(job, std::move(report)); });
      });
}

UnpackOptions LayerJobs::unpack_options() const {
  UnpackOptions options = options_;
  const uint64_t free = disk_free_bytes(store_.root());
  options.max_bytes = std::min(options.max_bytes, free > reserve_bytes ? free - reserve_bytes : 1);
  return options;
}

Error LayerJobs::unpack_error(Error error, uint64_t max_bytes) const {
  if (error.code != Errc::too_large || max_bytes >= options_.max_bytes) return error;
  error.code = Errc::exhausted;
  return std::move(error).with(strf("no space left on device: %llu MiB can be used",
                                    static_cast<unsigned long long>(max_bytes >> 20)));
}

void LayerJobs::unpacked(Job& job, Result<UnpackReport> report) {
  if (!report && report.error().code == Errc::corrupt) return spoiled(job, std::move(report).error());
  if (!report) return complete(job, std::unexpected(unpack_error(std::move(report).error(), job.max_bytes)));
  if (report->digest != job.request.layer.diff_id) {
    return spoiled(job, {Errc::corrupt,
                         "the uncompressed layer has digest " + report->digest +
                             ", the image configuration says " + job.request.layer.diff_id,
                         0});
  }
  commit(job, *report);
}

// Whatever is wrong with the blob, the next attempt begins with another one.
void LayerJobs::spoiled(Job& job, Error error) {
  give_back(job, {store_.blob_path(job.request.layer.digest)}, std::move(error));
}

std::vector<std::string> LayerJobs::partial_files(const Job& job) const {
  const std::string path = store_.partial_path(job.request.layer.digest);
  return {path, path + Store::note_suffix};
}

void LayerJobs::give_back(Job& job, std::vector<std::string> paths, Error error) {
  job.work.start(
      transport_.loop(),
      [paths = std::move(paths)] {
        for (const std::string& path : paths) (void)unlink(path.c_str());
      },
      [this, &job, error = std::move(error)] { complete(job, std::unexpected(error)); });
}

void LayerJobs::commit(Job& job, const UnpackReport& report) {
  auto result = std::make_shared<Result<>>();
  std::vector<std::string> parents;
  for (const std::string& chain_id : job.request.parents) parents.push_back(store_.layer_root(chain_id));
  job.work.start(
      transport_.loop(),
      [result, parents, store = store_, name = job.temporary_name(), layer = job.request.layer,
       unpacked = report.unpacked, drop = !job.request.keep_blob && !blob_wanted(job)] {
        *result = store.commit_layer(name, layer, unpacked, parents);
        if (*result && drop) (void)unlink(store.blob_path(layer.digest).c_str());
      },
      [this, &job, result] { complete(job, *result); });
}

// The last act of a job: it is gone before anybody hears of it.
void LayerJobs::complete(Job& job, Result<> result) {
  const auto it = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& j) { return j.get() == &job; });
  if (result) tell(job, job.request.layer.size, LayerProgress::Phase::complete);
  finishing_.splice(finishing_.end(), jobs_, it);
  pump_soon();
  if (!result) {
    sweep(job);
    result = std::unexpected(std::move(result).error().with("layer " + job.request.layer.digest));
  }
  // One by one from a list that their own cancelling may shorten.
  while (!job.waiters.empty()) {
    const Waiter waiter = std::move(job.waiters.back());
    job.waiters.pop_back();
    waiter.done(result);
  }
  finishing_.erase(it);
}

}  // namespace limpet::image

#include "image/download.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/failpoint.h"
#include "base/sha256.h"
#include "base/unique_fd.h"

namespace limpet::image {
namespace {

constexpr size_t piece = 128 * 1024;       // handed to the pool at once
constexpr size_t high_water = 512 * 1024;  // the connection rests above
constexpr int max_tries = 5;
constexpr int64_t retry_delay_ms = 500;

}  // namespace

struct Download::File {
  std::string path, target;
  std::string wanted;  // hex
  uint64_t wanted_size = 0;
  UniqueFd fd;
  Sha256 hash;
  uint64_t size = 0;
  std::string chunk;
  Result<> result;

  // Opens what there is and hashes it, so that the download goes on behind it.
  Result<> open_existing() {
    fd.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail_errno(errno, "open " + path);
    std::string buffer(piece, '\0');
    size = 0;
    hash = Sha256();
    while (true) {
      const ssize_t n = read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno, "read " + path);
      if (n == 0) break;
      hash.update({buffer.data(), static_cast<size_t>(n)});
      size += static_cast<uint64_t>(n);
    }
    return size > wanted_size ? truncate() : Result<>{};
  }

  Result<> truncate() {
    size = 0;
    hash = Sha256();
    if (ftruncate(fd.get(), 0) != 0 || lseek(fd.get(), 0, SEEK_SET) != 0)
      return fail_errno(errno, "truncate " + path);
    return {};
  }

  Result<> append() {
    if (LIMPET_FAILPOINT("image.blob.write")) return fail(Errc::io, "failpoint image.blob.write");
    std::string_view left = chunk;
    while (!left.empty()) {
      const ssize_t n = write(fd.get(), left.data(), left.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno, "write " + path);
      left.remove_prefix(static_cast<size_t>(n));
    }
    hash.update(chunk);
    size += chunk.size();
    chunk.clear();
    return {};
  }

  // corrupt: the bytes are not those of the digest.
  Result<> commit() {
    if (hash.finish_hex() != wanted) return fail(Errc::corrupt, "the bytes received do not match the digest");
    if (fsync(fd.get()) != 0) return fail_errno(errno, "sync " + path);
    if (LIMPET_FAILPOINT("image.blob.rename")) return fail(Errc::io, "failpoint image.blob.rename");
    if (rename(path.c_str(), target.c_str()) != 0) return fail_errno(errno, "rename " + path);
    return {};
  }
};

Download::Download(Transport& transport, const Store& store, std::vector<SessionPtr> sessions,
                   std::string digest, uint64_t size, Progress progress, Done done)
    : transport_(transport),
      sessions_(std::move(sessions)),
      digest_(std::move(digest)),
      size_(size),
      progress_(std::move(progress)),
      done_(std::move(done)),
      timer_(transport.loop(), "image.download") {
  file_ = std::make_shared<File>();
  file_->path = store.partial_path(digest_);
  file_->target = store.blob_path(digest_);
  file_->wanted = digest_hex(digest_);
  file_->wanted_size = size_;
  open();
}

Download::~Download() = default;

void Download::open() {
  work_.start(
      transport_.loop(), [file = file_] { file->result = file->open_existing(); },
      [this] {
        if (!file_->result) return finish(file_->result);
        if (progress_) progress_(file_->size);
        if (file_->size == size_) return commit();
        ask();
      });
}

void Download::ask() {
  end_.reset();
  received_at_ = file_->size;
  fetch_ = std::make_unique<Fetch>(transport_, sessions_[session_],
                                   FetchRequest{"blobs/" + digest_, "", file_->size},
                                   FetchEvents{[this](int status, const http::Headers&) { answer(status); },
                                               [this](std::string_view bytes) { received(bytes); },
                                               [this](Result<> result) { ended(std::move(result)); }});
}

// 200 to a request for the rest: the server sends all of it, from the start.
void Download::answer(int status) {
  if (status == 206 || file_->size == 0) return;
  if (auto cut = file_->truncate(); !cut) return finish(std::move(cut));
  received_at_ = 0;
}

void Download::received(std::string_view bytes) {
  if (file_->size + file_->chunk.size() + pending_.size() + bytes.size() > size_) {
    fetch_.reset();
    pending_.clear();
    end_ = std::make_unique<Result<>>(fail(Errc::corrupt, "more bytes than the manifest says"));
    if (!writing_) settle();
    return;
  }
  pending_.append(bytes);
  if (pending_.size() >= piece) flush();
  if (pending_.size() >= high_water && !paused_) {
    paused_ = true;
    fetch_->pause(true);
  }
}

void Download::flush() {
  if (writing_ || pending_.empty()) return;
  writing_ = true;
  file_->chunk = std::move(pending_);
  pending_.clear();
  work_.start(transport_.loop(), [file = file_] { file->result = file->append(); }, [this] { flushed(); });
}

void Download::flushed() {
  writing_ = false;
  if (!file_->result) return finish(file_->result);
  if (progress_) progress_(file_->size);
  if (end_) return settle();
  if (pending_.size() >= piece) flush();
  if (paused_ && pending_.size() < high_water) {
    paused_ = false;
    fetch_->pause(false);
  }
}

void Download::ended(Result<> result) {
  end_ = std::make_unique<Result<>>(std::move(result));
  if (!writing_) settle();
}

// The fetch is over: writes what is left, then judges.
void Download::settle() {
  if (!pending_.empty()) return flush();
  paused_ = false;
  const Result<> result = *end_;
  fetch_.reset();
  if (result && file_->size == size_) return commit();
  if (result) return next_try({Errc::unavailable, "the registry sent fewer bytes than the manifest says", 0});
  if (result.error().code == Errc::corrupt || result.error().code == Errc::conflict) {
    if (auto cut = file_->truncate(); !cut) return finish(std::move(cut));
  }
  next_try(result.error());
}

void Download::next_try(Error error) {
  if (file_->size > received_at_) tries_ = 0;  // it goes forward, however slowly
  const bool broken =
      error.code == Errc::unavailable || error.code == Errc::timeout || error.code == Errc::conflict;
  if (broken && file_->size > 0 && ++tries_ < max_tries) {
    timer_.start(retry_delay_ms << tries_, [this] { ask(); });
    return;
  }
  if (++session_ < sessions_.size()) {
    tries_ = 0;
    return ask();
  }
  finish(std::unexpected(std::move(error)));
}

void Download::start_over() {
  if (auto cut = file_->truncate(); !cut) return finish(std::move(cut));
  if (!corrupt_once_) {
    corrupt_once_ =
        true;  // a partial file of before may have been damaged on disk: once more, from the start
    session_ = 0;
    return ask();
  }
  finish(fail(Errc::corrupt, "the bytes received do not match the digest"));
}

void Download::commit() {
  work_.start(
      transport_.loop(), [file = file_] { file->result = file->commit(); },
      [this] {
        if (!file_->result && file_->result.error().code == Errc::corrupt) return start_over();
        finish(file_->result);
      });
}

void Download::finish(Result<> result) {
  timer_.stop();
  fetch_.reset();
  const Done done = std::move(done_);
  if (!result) {
    done(std::unexpected(std::move(result).error().with("blob " + digest_)));
  } else {
    done({});
  }
}

}  // namespace limpet::image

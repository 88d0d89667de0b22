#include "image/download.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "image/partial.h"

namespace limpet::image {
namespace {

constexpr size_t piece = 128 * 1024;       // handed to the pool at once
constexpr size_t high_water = 512 * 1024;  // the connection rests above
constexpr int max_tries = 5;
constexpr int max_mirror_tries = 2;  // while there is another to ask
constexpr int64_t retry_delay_ms = 500;
constexpr uint64_t progress_bytes = 64 * 1024;  // so much more than ever before is worth further tries
// How much a power cut may cost: what came since the last mark. Marks cost a sync each.
constexpr uint64_t mark_bytes = 4 * 1024 * 1024;
constexpr uint64_t slow_mark_bytes = 128 * 1024;
constexpr int64_t slow_mark_ms = 10'000;

// Where the bytes of a 206 begin: "bytes 100-199/200". nullopt when it cannot be told, or does not fit.
std::optional<uint64_t> range_start(std::string_view value, uint64_t total) {
  if (!value.starts_with("bytes ")) return std::nullopt;
  value.remove_prefix(6);
  uint64_t first = 0, of = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), first);
  const size_t slash = value.find('/');
  if (parsed.ec != std::errc() || slash == std::string_view::npos) return std::nullopt;
  const std::string_view size = value.substr(slash + 1);
  if (size == "*") return first;
  const auto whole = std::from_chars(size.data(), size.data() + size.size(), of);
  if (whole.ec != std::errc() || of != total) return std::nullopt;
  return first;
}

}  // namespace

struct Download::File {
  Partial partial;
  std::string chunk;
  bool cut = false;   // before the chunk: what is there counts for nothing
  bool mark = false;  // after the chunk
  Result<> result;

  explicit File(Partial p) : partial(std::move(p)) {}
  Result<> write() {
    if (cut) CHECK_OK(partial.truncate());
    cut = false;
    CHECK_OK(partial.append(chunk));
    chunk.clear();
    return mark ? partial.mark() : Result<>{};
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
      file_(std::make_shared<File>(Partial(store, digest_, size_))),
      timer_(transport.loop(), "image.download") {
  while (session_ + 1 < sessions_.size() && transport_.rests(*sessions_[session_])) ++session_;
  work_.start(
      transport_.loop(), [file = file_] { file->result = file->partial.open(); }, [this] { opened(); });
}

Download::~Download() = default;

void Download::opened() {
  if (!file_->result) return finish(file_->result);
  const uint64_t there = file_->partial.size();
  inherited_ = there > 0;
  furthest_ = there;
  marked_ms_ = transport_.clock().monotonic_ms();
  if (progress_) progress_(there);
  if (there < size_) return ask();
  transport_.traffic().resumed += there;
  commit();
}

void Download::ask() {
  end_.reset();
  answered_ = false;
  taken_ = file_->cut ? 0 : file_->partial.size();
  fetch_ = std::make_unique<Fetch>(
      transport_, sessions_[session_], FetchRequest{"blobs/" + digest_, "", taken_},
      FetchEvents{[this](int status, const http::Headers& headers) { answer(status, headers); },
                  [this](std::string_view bytes) { received(bytes); },
                  [this](Result<> result) { ended(std::move(result)); }});
}

void Download::answer(int status, const http::Headers& headers) {
  answered_ = true;
  if (status == 206) {
    const auto start = range_start(headers.get("Content-Range"), size_);
    if (start == taken_) {
      if (taken_ > 0) ++transport_.traffic().breaks;
      transport_.traffic().resumed += taken_;
      return;
    }
    fetch_.reset();
    end_ = std::make_unique<Result<>>(
        fail(Errc::conflict, "the registry sent other bytes than it was asked for"));
    return settle();
  }
  // 200 to a request for the rest: the server sends all of it, from the start.
  if (taken_ > 0) drop();
  taken_ = 0;
}

// What there is counts for nothing; it goes when the first byte of what follows is written.
void Download::drop() {
  if (!file_->cut) transport_.traffic().discarded += file_->partial.size();
  file_->cut = true;
}

void Download::received(std::string_view bytes) {
  if (taken_ + bytes.size() > size_) {
    fetch_.reset();
    pending_.clear();
    end_ = std::make_unique<Result<>>(fail(Errc::corrupt, "more bytes than the manifest says"));
    if (!writing_) settle();
    return;
  }
  taken_ += bytes.size();
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
  const int64_t now = transport_.clock().monotonic_ms();
  const uint64_t there = file_->cut ? 0 : file_->partial.size();
  const uint64_t unmarked = there + pending_.size() - (file_->cut ? 0 : file_->partial.marked());
  const bool slow = unmarked >= slow_mark_bytes && now - marked_ms_ >= slow_mark_ms;
  file_->mark = taken_ < size_ && (unmarked >= mark_bytes || slow);
  if (file_->mark) marked_ms_ = now;
  file_->chunk = std::move(pending_);
  pending_.clear();
  work_.start(transport_.loop(), [file = file_] { file->result = file->write(); }, [this] { flushed(); });
}

void Download::flushed() {
  writing_ = false;
  if (!file_->result) return finish(file_->result);
  if (progress_) progress_(file_->partial.size());
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
  if (result && !file_->cut && file_->partial.size() == size_) return commit();
  if (result) return next_try({Errc::unavailable, "the registry sent fewer bytes than the manifest says", 0});
  if (result.error().code == Errc::corrupt) drop();
  next_try(result.error());
}

// To the next session that is worth asking; false when there is none.
bool Download::next_session() {
  size_t next = session_ + 1;
  while (next < sessions_.size() && transport_.rests(*sessions_[next])) ++next;
  if (next >= sessions_.size()) return false;
  session_ = next;
  tries_ = 0;
  inherited_ = inherited_ || (!file_->cut && file_->partial.size() > 0);
  return true;
}

void Download::next_try(Error error) {
  const uint64_t there = file_->cut ? 0 : file_->partial.size();
  const bool some = there > 0;
  if (there >= furthest_ + progress_bytes) {  // it goes forward, however slowly
    furthest_ = there;
    tries_ = 0;
  }
  const bool broken = error.code == Errc::unavailable || error.code == Errc::timeout;
  const bool last = session_ + 1 == sessions_.size();
  const int tries = last ? max_tries : max_mirror_tries;
  const bool rests = !last && transport_.rests(*sessions_[session_]);
  if (broken && (some || answered_) && !rests && ++tries_ < tries) {
    timer_.start(retry_delay_ms << tries_, [this] { ask(); });
    return;
  }
  if (next_session()) return ask();
  // This one does not go on where we are: from the start, then.
  if (error.code == Errc::conflict && some) {
    drop();
    return ask();
  }
  finish(std::unexpected(std::move(error)));
}

// Whole, and wrong. What an earlier attempt or another source brought may be to blame, or who sent the rest.
void Download::start_over() {
  drop();
  furthest_ = 0;
  if (std::exchange(inherited_, false)) return ask();
  if (next_session()) return ask();
  finish(fail(Errc::corrupt, "the bytes received do not match the digest"));
}

void Download::commit() {
  work_.start(
      transport_.loop(), [file = file_] { file->result = file->partial.commit(); },
      [this] {
        if (!file_->result && file_->result.error().code == Errc::corrupt) return start_over();
        finish(file_->result);
      });
}

void Download::finish(Result<> result) {
  timer_.stop();
  fetch_.reset();
  if (!result && std::exchange(file_->cut, false)) {  // what is wrong is not kept
    work_.start(
        transport_.loop(), [file = file_] { file->partial.remove(); },
        [this, error = std::move(result).error()] { finish(std::unexpected(error)); });
    return;
  }
  const Done done = std::move(done_);
  if (!result) {
    done(std::unexpected(std::move(result).error().with("blob " + digest_)));
  } else {
    done({});
  }
}

}  // namespace limpet::image

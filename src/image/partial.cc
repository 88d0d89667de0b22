#include "image/partial.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/atomic_file.h"
#include "base/boot.h"
#include "base/failpoint.h"
#include "image/reference.h"

namespace limpet::image {
namespace {

constexpr size_t piece = 128 * 1024;
constexpr size_t max_note = 8 * 1024 * 1024;

Result<> write_whole(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write " + path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

// The part of a line up to the next blank, taken off it.
std::string_view word(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view out = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return out;
}

}  // namespace

Partial::Partial(const Store& store, const std::string& digest, uint64_t size)
    : path_(store.partial_path(digest)),
      note_path_(path_ + Store::note_suffix),
      target_(store.blob_path(digest)),
      wanted_(digest_hex(digest)),
      wanted_size_(size) {}

// Lines that were torn, or that go backwards, and all behind them say nothing.
std::vector<Partial::Mark> Partial::read_note() const {
  std::vector<Mark> out;
  const auto text = read_file(note_path_, max_note);
  if (!text) return out;
  std::string_view rest = *text;
  for (size_t end = 0; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    std::string_view line = rest.substr(0, end);
    Mark mark;
    mark.boot = word(line);
    const std::string_view length = word(line);
    const auto parsed = std::from_chars(length.data(), length.data() + length.size(), mark.length);
    mark.digest = word(line);
    const bool forward = out.empty() || mark.length >= out.back().length;
    if (parsed.ec != std::errc() || mark.digest.size() != 64 || !line.empty() || !forward) break;
    out.push_back(std::move(mark));
  }
  return out;
}

Result<> Partial::write_note(const std::vector<Mark>& marks, bool sync) const {
  std::string text;
  for (const Mark& m : marks) {
    text += strf("%s %llu %s\n", m.boot.c_str(), static_cast<unsigned long long>(m.length), m.digest.c_str());
  }
  const UniqueFd fd(::open(note_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno(errno, "open " + note_path_);
  CHECK_OK(write_whole(fd.get(), text, note_path_));
  if (sync && fdatasync(fd.get()) != 0) return fail_errno(errno, "sync " + note_path_);
  return {};
}

Partial::Mark Partial::mark_here() const { return {boot_id(), size_, hash_.copy().finish_hex()}; }

Result<> Partial::open() {
  fd_.reset(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd_) return fail_errno(errno, "open " + path_);
  std::vector<Mark> marks = read_note();
  const bool this_boot = !marks.empty() && !marks.back().boot.empty() && marks.back().boot == boot_id();
  size_ = marked_ = 0;
  hash_ = Sha256();
  Sha256 at_mark;  // of everything up to marked_
  std::string buffer(piece, '\0');
  size_t good = 0;  // marks that hold
  while (true) {
    bool wrong = false;
    for (; good < marks.size() && marks[good].length == size_ && !wrong; good += wrong ? 0 : 1) {
      wrong = hash_.copy().finish_hex() != marks[good].digest;
      if (wrong) continue;
      marked_ = size_;
      at_mark = hash_.copy();
    }
    if (wrong || (good == marks.size() && !this_boot)) break;
    const uint64_t most = good < marks.size() ? marks[good].length - size_ : piece;
    const ssize_t n = read(fd_.get(), buffer.data(), std::min<uint64_t>(most, piece));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read " + path_);
    if (n == 0) break;
    hash_.update({buffer.data(), static_cast<size_t>(n)});
    size_ += static_cast<uint64_t>(n);
  }
  const bool whole = good == marks.size() && this_boot;
  if (!whole) {
    size_ = marked_;
    hash_ = std::move(at_mark);
  }
  if (size_ > wanted_size_) return truncate();
  if (ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0 ||
      lseek(fd_.get(), static_cast<off_t>(size_), SEEK_SET) < 0)
    return fail_errno(errno, "truncate " + path_);
  if (whole) return {};
  marks.resize(good);
  marks.push_back(mark_here());  // from here on what this boot adds counts
  return write_note(marks, marked_ > 0);
}

Result<> Partial::truncate() {
  size_ = marked_ = 0;
  hash_ = Sha256();
  if (ftruncate(fd_.get(), 0) != 0 || lseek(fd_.get(), 0, SEEK_SET) != 0)
    return fail_errno(errno, "truncate " + path_);
  return write_note({mark_here()}, false);
}

void Partial::remove() {
  (void)unlink(path_.c_str());
  (void)unlink(note_path_.c_str());
}

Result<> Partial::append(std::string_view bytes) {
  if (LIMPET_FAILPOINT("image.blob.write")) return fail(Errc::io, "failpoint image.blob.write");
  CHECK_OK(write_whole(fd_.get(), bytes, path_));
  // On its way to the disk at once, so that the next mark, or the end, need not wait for much.
  (void)sync_file_range(fd_.get(), static_cast<off_t>(size_), static_cast<off_t>(bytes.size()),
                        SYNC_FILE_RANGE_WRITE);
  hash_.update(bytes);
  size_ += bytes.size();
  return {};
}

Result<> Partial::mark() {
  if (fdatasync(fd_.get()) != 0) return fail_errno(errno, "sync " + path_);
  if (LIMPET_FAILPOINT("image.blob.mark")) return fail(Errc::io, "failpoint image.blob.mark");
  const Mark m = mark_here();
  const std::string line =
      strf("%s %llu %s\n", m.boot.c_str(), static_cast<unsigned long long>(m.length), m.digest.c_str());
  const UniqueFd fd(::open(note_path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail_errno(errno, "open " + note_path_);
  CHECK_OK(write_whole(fd.get(), line, note_path_));
  if (fdatasync(fd.get()) != 0) return fail_errno(errno, "sync " + note_path_);
  if (marked_ == 0) {  // the names of both files
    const UniqueFd dir(::open(path_.substr(0, path_.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir || fsync(dir.get()) != 0) return fail_errno(errno, "sync the directory of " + path_);
  }
  marked_ = size_;
  return {};
}

Result<> Partial::commit() {
  if (hash_.copy().finish_hex() != wanted_)
    return fail(Errc::corrupt, "the bytes received do not match the digest");
  if (fsync(fd_.get()) != 0) return fail_errno(errno, "sync " + path_);
  if (LIMPET_FAILPOINT("image.blob.rename")) return fail(Errc::io, "failpoint image.blob.rename");
  if (rename(path_.c_str(), target_.c_str()) != 0) return fail_errno(errno, "rename " + path_);
  (void)unlink(note_path_.c_str());
  return {};
}

}  // namespace limpet::image

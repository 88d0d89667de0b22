#include "backup/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/failpoint.h"
#include "base/tree.h"

namespace limpet::backup {
namespace {

constexpr std::string_view mark = ".tmp-";
constexpr size_t random_part = 6;

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool exists(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

std::unexpected<Error> taken(const std::string& path) {
  return fail(Errc::already_exists, path + " is there already");
}

// FAT and others know no rename that spares what is there.
Result<> give_name(const std::string& from, const std::string& to, bool replace) {
  if (LIMPET_FAILPOINT("backup.file.rename")) return fail(Errc::io, "failpoint backup.file.rename");
  if (!replace) {
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno == EEXIST) return taken(to);
    if (errno != EINVAL && errno != ENOSYS) return fail_errno(errno, "rename to " + to);
    if (exists(to)) return taken(to);
  }
  if (rename(from.c_str(), to.c_str()) != 0) return fail_errno(errno, "rename to " + to);
  return {};
}

Result<> sync_directory(const std::string& directory) {
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + directory);
  if (fsync(fd.get()) != 0) return fail_errno(errno, "sync " + directory);
  return {};
}

Result<size_t> read_some(int fd, char* to, size_t size, const std::string& path) {
  size_t got = 0;
  while (got < size) {
    const ssize_t n = ::read(fd, to + got, size - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read " + path);
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  return got;
}

}  // namespace

void remove_unfinished(const std::string& directory, const std::function<bool(std::string_view)>& of) {
  for (const std::string& name : list_directory(directory)) {
    const size_t end = name.size() - std::min(name.size(), mark.size() + random_part);
    if (end < 2 || name[0] != '.' || name.compare(end, mark.size(), mark) != 0) continue;
    if (!of(std::string_view(name).substr(1, end - 1))) continue;
    const std::string path = directory + "/" + name;
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0) unlink(path.c_str());
  }
}

BackupWriter::BackupWriter(std::string path, bool replace, std::string temporary, UniqueFd fd,
                           pki::StreamSealer sealer)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      replace_(replace),
      fd_(std::move(fd)),
      sealer_(std::move(sealer)) {}

BackupWriter::~BackupWriter() {
  if (fd_) unlink(temporary_.c_str());
}

Result<BackupWriter> BackupWriter::create(const std::string& path, bool replace, const Head& head) {
  const std::string directory = directory_of(path), name = name_of(path);
  if (!replace && exists(path)) return taken(path);
  TRY(auto sealer, pki::StreamSealer::make(head.key));
  remove_unfinished(directory, [&](std::string_view of) { return of == name; });
  std::string temporary = directory + "/." + name + std::string(mark) + "XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return fail_errno(errno, "make " + temporary);
  (void)flock(fd.get(), LOCK_EX | LOCK_NB);  // a file system without locks only keeps leftovers from going
  BackupWriter out(path, replace, std::move(temporary), std::move(fd), std::move(sealer));
  out.sealed_ = head.bytes;
  CHECK_OK(out.flush());
  return out;
}

Result<> BackupWriter::flush() {
  if (LIMPET_FAILPOINT("backup.file.write")) return fail_errno(ENOSPC, "write " + path_);
  std::string_view left = sealed_;
  while (!left.empty()) {
    const ssize_t n = ::write(fd_.get(), left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write " + path_);
    left.remove_prefix(static_cast<size_t>(n));
  }
  size_ += sealed_.size();
  sealed_.clear();
  return {};
}

Result<> BackupWriter::write(std::string_view plain) {
  while (!plain.empty()) {
    const std::string_view piece = plain.substr(0, pki::stream_chunk);
    plain.remove_prefix(piece.size());
    CHECK_OK(sealer_.update(piece, sealed_));
    CHECK_OK(flush());
  }
  return {};
}

Result<uint64_t> BackupWriter::finish() {
  CHECK_OK(sealer_.finish(sealed_));
  CHECK_OK(flush());
  if (fsync(fd_.get()) != 0) return fail_errno(errno, "sync " + path_);
  CHECK_OK(give_name(temporary_, path_, replace_));
  fd_.reset();
  CHECK_OK(sync_directory(directory_of(path_)));
  return size_;
}

Result<BackupInput> BackupInput::open(const std::string& path) {
  BackupInput out(path, UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
  if (!out.fd_) return fail_errno(errno, "open " + path);
  struct stat st{};
  if (fstat(out.fd_.get(), &st) != 0) return fail_errno(errno, "stat " + path);
  if (!S_ISREG(st.st_mode)) return fail(Errc::invalid_argument, path + " is no regular file");
  out.size_ = static_cast<uint64_t>(st.st_size);
  const auto about = [&](Error error) { return std::unexpected(std::move(error).with(path)); };
  std::string head(max_head, '\0');
  TRY(const size_t got, read_some(out.fd_.get(), head.data(), head_start, path));
  auto size = head_size(std::string_view(head).substr(0, got));
  if (!size) return about(std::move(size).error());
  TRY(const size_t rest, read_some(out.fd_.get(), head.data() + head_start, *size - head_start, path));
  auto header = read_head(std::string_view(head).substr(0, head_start + rest));
  if (!header) return about(std::move(header).error());
  out.header_ = std::move(*header);
  return out;
}

Result<> BackupInput::read(const pki::SealKey& key, const std::function<Result<>(std::string_view)>& plain) {
  TRY(auto opener, pki::StreamOpener::make(key));
  const auto about = [&](Error error) { return std::unexpected(std::move(error).with(path_)); };
  std::string sealed(pki::stream_chunk, '\0'), opened;
  while (true) {
    TRY(const size_t got, read_some(fd_.get(), sealed.data(), sealed.size(), path_));
    auto done = got ? opener.update(std::string_view(sealed).substr(0, got), opened) : opener.finish(opened);
    if (!done) return about(std::move(done).error());
    if (!opened.empty()) {
      auto taken = plain(opened);
      if (!taken) return about(std::move(taken).error());
    }
    opened.clear();
    if (got == 0) return {};
  }
}

Result<> check_room(const std::string& directory, uint64_t wanted) {
  struct statvfs fs{};
  if (statvfs(directory.c_str(), &fs) != 0) return fail_errno(errno, "look at " + directory);
  const uint64_t free = uint64_t{fs.f_bavail} * fs.f_frsize;
  if (free >= wanted && !LIMPET_FAILPOINT("backup.room")) return {};
  return fail(Errc::exhausted,
              strf("%s has %llu bytes free, the backup needs about %llu", directory.c_str(),
                   static_cast<unsigned long long>(free), static_cast<unsigned long long>(wanted)));
}

}  // namespace limpet::backup

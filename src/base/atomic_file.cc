#include "base/atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/failpoint.h"
#include "base/tree.h"
#include "base/unique_fd.h"

namespace limpet {

namespace {

constexpr std::string_view temporary_mark = ".tmp-";

std::string directory_of(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// True when the failpoint BASE + SUFFIX fires. Without failpoints it costs nothing.
bool fails([[maybe_unused]] std::string_view base, [[maybe_unused]] std::string_view suffix) {
#ifdef LIMPET_FAILPOINTS
  std::string name(base);
  name += suffix;
  return LIMPET_FAILPOINT(name);
#else
  return false;
#endif
}

Result<> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write " + path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

// Everything up to the rename; on failure the caller unlinks the temporary file.
Result<> fill_and_rename(int fd, const std::string& temporary, const std::string& path,
                         std::string_view bytes, uint32_t mode, std::string_view failpoint) {
  CHECK_OK(write_all(fd, bytes, temporary));
  if (fchmod(fd, mode) != 0) return fail_errno(errno, "chmod " + temporary);
  if (fsync(fd) != 0) return fail_errno(errno, "fsync " + temporary);
  if (fails(failpoint, ".rename")) return fail(Errc::io, "write " + path + ": failpoint before rename");
  if (rename(temporary.c_str(), path.c_str()) != 0) return fail_errno(errno, "rename to " + path);
  return {};
}

}  // namespace

Result<> write_file_atomic(const std::string& path, std::string_view bytes, uint32_t mode,
                           std::string_view failpoint) {
  if (fails(failpoint, "")) return fail(Errc::io, "write " + path + ": failpoint");
  std::string directory = directory_of(path);
  std::string temporary = directory + "/." + name_of(path) + std::string(temporary_mark) + "XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return fail_errno(errno, "create " + temporary);
  Result<> filled = fill_and_rename(fd.get(), temporary, path, bytes, mode, failpoint);
  if (!filled) {
    unlink(temporary.c_str());
    return filled;
  }
  if (fails(failpoint, ".synced"))
    return fail(Errc::io, "write " + path + ": failpoint before directory sync");
  UniqueFd dir(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return fail_errno(errno, "open " + directory);
  if (fsync(dir.get()) != 0) return fail_errno(errno, "fsync " + directory);
  return {};
}

Result<std::string> read_file(const std::string& path, size_t max_size) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + path);
  std::string out;
  char buffer[4096];
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read " + path);
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > max_size) {
      return fail(Errc::too_large, strf("%s is larger than %zu bytes", path.c_str(), max_size));
    }
    out.append(buffer, static_cast<size_t>(n));
  }
}

Result<> make_directories(const std::string& path, uint32_t mode) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    std::string parent = path.substr(0, at);
    if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(errno, "mkdir " + parent);
  }
  if (mkdir(path.c_str(), mode) == 0) {
    if (chmod(path.c_str(), mode) != 0) return fail_errno(errno, "chmod " + path);  // whatever the umask says
    return {};
  }
  if (errno != EEXIST) return fail_errno(errno, "mkdir " + path);
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return fail_errno(errno, "stat " + path);
  if (!S_ISDIR(st.st_mode)) return fail_errno(ENOTDIR, path);
  return {};
}

void remove_temporaries(const std::string& directory) {
  for (const std::string& name : list_directory(directory)) {
    const size_t mark = name.rfind(temporary_mark);
    if (name.starts_with('.') && mark != std::string::npos && name.size() == mark + temporary_mark.size() + 6)
      unlink((directory + "/" + name).c_str());
  }
}

}  // namespace limpet

#include "image/layer_check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/unique_fd.h"

namespace limpet::image {
namespace {

constexpr size_t piece = 64 * 1024;
constexpr int max_depth = 1000;

// Every step can be undone, so that a change of any single word shows. Many times faster than a digest.
class Sum {
 public:
  void word(uint64_t w) {
    state_ = (state_ ^ w) * 0x9e3779b97f4a7c15ull;
    state_ ^= state_ >> 29;
  }
  // In all calls but the last one a multiple of eight bytes.
  void update(const char* p, size_t size) {
    uint64_t w = 0;
    for (; size >= sizeof w; p += sizeof w, size -= sizeof w) {
      memcpy(&w, p, sizeof w);
      word(w);
    }
    w = 0;
    memcpy(&w, p, size);
    if (size > 0) word(w);
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0x6c696d706574ull;
};

struct Directory {
  explicit Directory(UniqueFd fd) : stream(fdopendir(fd.get())) {
    if (stream != nullptr) (void)fd.release();
  }
  ~Directory() {
    if (stream != nullptr) closedir(stream);
  }
  Directory(const Directory&) = delete;
  // In an order that does not depend on the file system.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    while (const dirent* e = readdir(stream)) {
      const std::string_view name = e->d_name;
      if (name != "." && name != "..") out.emplace_back(name);
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  DIR* stream;
};

class Examiner {
 public:
  explicit Examiner(bool with_contents) : buffer_(with_contents ? piece : 0, '\0') {}

  Result<> directory(UniqueFd fd, int depth) {
    if (depth > max_depth) return fail(Errc::too_large, "directories are nested too deep");
    struct stat st{};
    if (fstat(fd.get(), &st) != 0) return fail_errno(errno, "look up");
    attributes_.update(strf("%o %u %u\n", st.st_mode, st.st_uid, st.st_gid));
    if (!buffer_.empty()) extended(fd.get(), "trusted.overlay.opaque");
    const Directory dir(std::move(fd));
    if (dir.stream == nullptr) return fail_errno(errno, "read directory");
    for (const std::string& name : dir.names()) CHECK_OK(entry(dirfd(dir.stream), name, depth));
    attributes_.update("/");  // one up: no name is this
    return {};
  }

  TreeEvidence finish() {
    evidence_.attributes = attributes_.finish_hex();
    if (!buffer_.empty()) evidence_.contents = contents_.finish_hex();
    return std::move(evidence_);
  }

 private:
  Result<> entry(int at, const std::string& name, int depth) {
    struct stat st{};
    if (fstatat(at, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(errno, "look up");
    // Seconds: finer times may be lost when the inode leaves memory.
    attributes_.update(strf("%s%c%o %u %u %lld %lld %llx\n", name.c_str(), '\0', st.st_mode, st.st_uid,
                            st.st_gid, static_cast<long long>(S_ISREG(st.st_mode) ? st.st_size : 0),
                            static_cast<long long>(st.st_mtim.tv_sec),
                            static_cast<unsigned long long>(st.st_rdev)));
    if (S_ISDIR(st.st_mode)) {
      UniqueFd below(openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!below) return fail_errno(errno, "open directory");
      return directory(std::move(below), depth + 1);
    }
    if (S_ISLNK(st.st_mode)) {
      char target[4096];
      const ssize_t n = readlinkat(at, name.c_str(), target, sizeof target);
      if (n < 0) return fail_errno(errno, "read link");
      attributes_.update({target, static_cast<size_t>(n)});
    }
    if (!S_ISREG(st.st_mode)) return {};
    if (st.st_nlink > 1 && !linked_.emplace(st.st_dev, st.st_ino).second) return {};
    evidence_.files++;
    evidence_.bytes += static_cast<uint64_t>(st.st_size);
    return buffer_.empty() ? Result<>{} : file(at, name);
  }

  Result<> file(int at, const std::string& name) {
    const UniqueFd fd(openat(at, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) return fail_errno(errno, "open file");
    Sum sum;
    size_t filled = 0;
    while (true) {
      const ssize_t n = read(fd.get(), buffer_.data() + filled, buffer_.size() - filled);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno, "read file");
      filled += static_cast<size_t>(n);
      if (n > 0 && filled < buffer_.size()) continue;
      sum.update(buffer_.data(), filled);
      if (n == 0) break;
      filled = 0;
    }
    contents_.update(hex64(sum.value()));
    extended(fd.get(), "security.capability");
    return {};
  }

  void extended(int fd, const char* name) {
    char value[256];
    const ssize_t n = fgetxattr(fd, name, value, sizeof value);
    if (n >= 0) contents_.update({value, static_cast<size_t>(n)});
  }

  TreeEvidence evidence_;
  Sha256 attributes_, contents_;
  std::string buffer_;  // empty: contents are not looked at
  std::set<std::pair<dev_t, ino_t>> linked_;
};

}  // namespace

Result<TreeEvidence> examine_tree(const std::string& root, bool with_contents) {
  UniqueFd fd(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + root);
  Examiner examiner(with_contents);
  CHECK_OK(examiner.directory(std::move(fd), 0));
  return examiner.finish();
}

}  // namespace limpet::image

#include "unpack/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <optional>

namespace limpet::unpack {
namespace {

constexpr std::string_view whiteout_prefix = ".wh.";
constexpr std::string_view opaque_marker = ".wh..wh..opq";
constexpr std::string_view reserved_prefix = ".wh..wh.";  // other notes that aufs left

struct ArchiveFree {
  void operator()(struct archive* a) const { archive_read_free(a); }
};

// What libarchive reads from, and the error that it cannot carry itself.
struct Source {
  Input* input;
  std::optional<Error> error;
};

la_ssize_t read_source(struct archive* a, void* user, const void** buffer) {
  auto* source = static_cast<Source*>(user);
  auto block = source->input->next();
  if (!block) {
    source->error = std::move(block).error();
    archive_set_error(a, EIO, "%s", "input");
    return -1;
  }
  *buffer = block->data();
  return static_cast<la_ssize_t>(block->size());
}

class Unpacker {
 public:
  Unpacker(int input_fd, UniqueFd root, Mode mode, const LayerLimits& limits)
      : input_(input_fd, limits.input),
        source_{&input_, {}},
        tree_(std::move(root)),
        mode_(mode),
        limits_(limits) {}

  Result<LayerReport> run();

 private:
  Result<> open();
  Result<bool> next_header();
  Result<> entry();
  Result<> special_name(Components& path, bool* handled);
  Result<> write_entry(const Components& path);
  Result<> write_file(const Components& path);
  Result<> write_data(int fd);
  Result<> write_link(const Components& path, const char* target);
  Result<Attributes> attributes();
  Error archive_error();

  Input input_;
  Source source_;
  Tree tree_;
  Mode mode_;
  const LayerLimits& limits_;
  std::unique_ptr<struct archive, ArchiveFree> archive_;
  struct archive_entry* entry_ = nullptr;
  LayerReport report_;
};

Error Unpacker::archive_error() {
  if (source_.error) return *source_.error;
  const char* text = archive_error_string(archive_.get());
  const auto offset = static_cast<long long>(archive_filter_bytes(archive_.get(), 0));
  return {Errc::corrupt,
          strf("corrupt layer near offset %lld: %s", offset, text != nullptr ? text : "unknown"), 0};
}

Result<> Unpacker::open() {
  archive_.reset(archive_read_new());
  if (!archive_) return fail(Errc::exhausted, "out of memory");
  if (archive_read_support_format_tar(archive_.get()) != ARCHIVE_OK) return std::unexpected(archive_error());
  const int status = archive_read_open(archive_.get(), &source_, nullptr, read_source, nullptr);
  if (status != ARCHIVE_OK) return std::unexpected(archive_error());
  return {};
}

// False at the end of the archive.
Result<bool> Unpacker::next_header() {
  const int status = archive_read_next_header(archive_.get(), &entry_);
  if (status == ARCHIVE_EOF) return false;
  // A warning means that something about the entry could not be understood (a name, a PAX record): an image
  // that is not the one its author made is no image.
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return std::unexpected(archive_error());
  if (++report_.entries > limits_.max_entries) {
    return fail(Errc::too_large, strf("the layer has more than %llu entries",
                                      static_cast<unsigned long long>(limits_.max_entries)));
  }
  return true;
}

Result<LayerReport> Unpacker::run() {
  CHECK_OK(open());
  while (true) {
    TRY(const bool more, next_header());
    if (!more) break;
    auto done = entry();
    if (!done) {
      const char* name = archive_entry_pathname(entry_);
      return std::unexpected(
          std::move(done).error().with(strf("entry \"%.300s\"", name != nullptr ? name : "?")));
    }
  }
  CHECK_OK(input_.drain());
  CHECK_OK(tree_.finish());
  report_.digest = input_.digest();
  report_.bytes = input_.bytes_out();
  report_.implicit.assign(tree_.implicit().begin(), tree_.implicit().end());
  report_.opaque.assign(tree_.opaque_directories().begin(), tree_.opaque_directories().end());
  return std::move(report_);
}

Result<> Unpacker::entry() {
  const char* name = archive_entry_pathname(entry_);
  if (name == nullptr) return fail(Errc::invalid_argument, "the name cannot be read");
  TRY(Components path, split_entry(name));
  if (mode_ == Mode::layer) {
    bool handled = false;
    CHECK_OK(special_name(path, &handled));
    if (handled) return {};
  }
  return write_entry(path);
}

// Whiteouts and their kin: names that say what to hide instead of what to make.
Result<> Unpacker::special_name(Components& path, bool* handled) {
  for (const std::string& part : path) {
    if (part.starts_with(reserved_prefix) && part != opaque_marker) {
      *handled = true;  // .wh..wh.plnk and the like mean nothing to us
      return {};
    }
  }
  if (path.empty() || !path.back().starts_with(whiteout_prefix)) return {};
  *handled = true;
  if (path.back() == opaque_marker) {
    path.pop_back();
    return tree_.opaque(path);
  }
  path.back().erase(0, whiteout_prefix.size());
  const std::string& hidden = path.back();
  if (hidden.empty() || hidden == "." || hidden == "..") {
    return fail(Errc::invalid_argument, "whiteout of nothing");
  }
  return tree_.whiteout(path);
}

Result<Attributes> Unpacker::attributes() {
  Attributes out;
  const bool directory = archive_entry_filetype(entry_) == AE_IFDIR;
  if (mode_ == Mode::archive) {
    out.mode = directory ? 0700 : 0600;
    return out;
  }
  out.mode = archive_entry_perm(entry_) & 07777;
  const int64_t uid = archive_entry_uid(entry_), gid = archive_entry_gid(entry_);
  if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX) {
    return fail(Errc::invalid_argument, "owner out of range");
  }
  out.uid = static_cast<uid_t>(uid);
  out.gid = static_cast<gid_t>(gid);
  out.mtime = {static_cast<time_t>(archive_entry_mtime(entry_)), archive_entry_mtime_nsec(entry_)};
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0, total = 0;
  archive_entry_xattr_reset(entry_);
  while (archive_entry_xattr_next(entry_, &name, &value, &size) == ARCHIVE_OK) {
    const std::string_view key = name != nullptr ? name : "";
    // The rest (trusted.overlay, labels of another system) would change how the layer is stacked or be wrong
    // here.
    if (key != "security.capability" && !key.starts_with("user.")) continue;
    if (key.starts_with("user.overlay.") || key.starts_with("user.fuseoverlayfs.")) continue;
    total += key.size() + size;
    if (total > limits_.max_xattr_bytes) return fail(Errc::too_large, "extended attributes are too large");
    out.xattrs.emplace_back(key, std::string(static_cast<const char*>(value), size));
  }
  return out;
}

Result<> Unpacker::write_entry(const Components& path) {
  if (const char* target = archive_entry_hardlink(entry_); target != nullptr) return write_link(path, target);
  const auto type = archive_entry_filetype(entry_);
  if (mode_ == Mode::archive && type != AE_IFDIR && type != AE_IFREG && type != AE_IFLNK) {
    return fail(Errc::invalid_argument, "not a plain file");
  }
  switch (type) {
    case AE_IFREG:
      return write_file(path);
    case AE_IFDIR: {
      TRY(const Attributes a, attributes());
      return tree_.directory(path, a);
    }
    case AE_IFLNK: {
      TRY(const Attributes a, attributes());
      const char* target = archive_entry_symlink(entry_);
      return tree_.symlink(path, target != nullptr ? target : "", a);
    }
    case AE_IFIFO: {
      TRY(const Attributes a, attributes());
      return tree_.fifo(path, a);
    }
    case AE_IFCHR:
    case AE_IFBLK:
      return fail(Errc::invalid_argument, "device nodes are not allowed in images");
    case AE_IFSOCK:
      return fail(Errc::invalid_argument, "sockets are not allowed in images");
    default:
      return fail(Errc::invalid_argument, "unknown type of entry");
  }
}

Result<> Unpacker::write_link(const Components& path, const char* target) {
  auto to = split_entry(target);
  if (!to) {
    return fail(Errc::invalid_argument,
                strf("hard link to \"%.300s\", which is outside of the layer", target));
  }
  return tree_.hard_link(path, *to);
}

Result<> Unpacker::write_file(const Components& path) {
  const int64_t size = archive_entry_size(entry_);
  if (size < 0 || static_cast<uint64_t>(size) > limits_.input.max_bytes) {
    return fail(Errc::too_large, "the file is larger than a layer may be");
  }
  TRY(const Attributes a, attributes());
  TRY(const UniqueFd fd, tree_.file(path));
  CHECK_OK(write_data(fd.get()));
  // The tail of a sparse file is a hole.
  if (ftruncate(fd.get(), size) != 0) return fail_errno(errno, "set length");
  report_.files++;
  report_.file_bytes += static_cast<uint64_t>(size);
  return tree_.finish_file(fd.get(), a);
}

Result<> Unpacker::write_data(int fd) {
  while (true) {
    const void* block = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(archive_.get(), &block, &size, &offset);
    if (status == ARCHIVE_EOF) return {};
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return std::unexpected(archive_error());
    const char* p = static_cast<const char*>(block);
    while (size > 0) {
      const ssize_t n = pwrite(fd, p, size, offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno, "write");
      p += n;
      offset += n;
      size -= static_cast<size_t>(n);
    }
  }
}

}  // namespace

Result<LayerReport> unpack_layer(int input_fd, UniqueFd root, Mode mode, const LayerLimits& limits) {
  Unpacker unpacker(input_fd, std::move(root), mode, limits);
  return unpacker.run();
}

}  // namespace limpet::unpack

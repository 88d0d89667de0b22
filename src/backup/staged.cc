#include "backup/staged.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/tree.h"
#include "base/unique_fd.h"

namespace limpet::backup {
namespace {

constexpr size_t max_identity = 256u << 10;
// Of a device that is of a cluster already, or was told to join one: its next start would go by these, and
// not by what was restored.
constexpr const char* place_files[] = {"cluster.json", "joining", "join.json"};

std::string directory_of(const Places& places) { return places.data_dir + "/restore.staged"; }
std::string mark_of(const Places& places) { return directory_of(places) + "/complete"; }

bool exists(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

bool holds_bytes(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0 && (st.st_size > 0 || !S_ISREG(st.st_mode));
}

Result<> sync(const std::string& path, int flags) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (!fd) return fail_errno(errno, "open " + path);
  if (fsync(fd.get()) != 0) return fail_errno(errno, "sync " + path);
  return {};
}

// What is not there any more was moved before the cut.
Result<> move(const std::string& from, const std::string& to) {
  if (LIMPET_FAILPOINT("backup.restore.move")) return fail(Errc::io, "failpoint backup.restore.move");
  if (rename(from.c_str(), to.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "move " + from);
  return {};
}

}  // namespace

Staged::Staged(Staged&& other) noexcept
    : places_(std::move(other.places_)), owned_(std::exchange(other.owned_, false)) {}

Staged::~Staged() {
  if (owned_) (void)remove_tree(directory_of(places_));
}

Result<Staged> Staged::begin(Places places) {
  CHECK_OK(settle_staged(places));
  for (const char* suffix : {"", "-wal"}) {
    if (!holds_bytes(places.store_file + suffix)) continue;
    return fail(Errc::already_exists, places.data_dir + " holds a store (" + places.store_file + suffix +
                                          "): a restore needs an empty dataDir");
  }
  for (const char* name : place_files) {
    const std::string there = places.data_dir + "/" + name;
    if (exists(there))
      return fail(Errc::already_exists,
                  there + " says that this device is one of a cluster: a restore needs an empty dataDir");
  }
  Staged out(std::move(places));
  CHECK_OK(make_directories(directory_of(out.places_) + "/pki", 0700));
  if (chmod(directory_of(out.places_).c_str(), 0700) != 0)
    return fail_errno(errno, "chmod " + directory_of(out.places_));
  return out;
}

std::string Staged::store_file() const { return directory_of(places_) + "/limpet.db"; }

Result<> Staged::put(std::string_view name, std::string_view bytes) {
  const std::string there = places_.pki_dir + "/" + std::string(name);
  if (exists(there)) {
    const auto have = read_file(there, max_identity);
    if (!have || *have != bytes) {
      return fail(Errc::already_exists, there +
                                            " is there, and is not the one of the backup: this device has "
                                            "an identity of its own");
    }
  }
  return write_file_atomic(directory_of(places_) + "/pki/" + std::string(name), bytes, 0600,
                           "backup.restore.file");
}

Result<> Staged::complete() {
  CHECK_OK(sync(store_file(), 0));
  CHECK_OK(sync(directory_of(places_) + "/pki", O_DIRECTORY));
  CHECK_OK(sync(directory_of(places_), O_DIRECTORY));
  CHECK_OK(write_file_atomic(mark_of(places_), "", 0600, "backup.restore.complete"));
  CHECK_OK(sync(places_.data_dir, O_DIRECTORY));
  owned_ = false;
  return settle_staged(places_);
}

Result<> settle_staged(const Places& places) {
  const std::string staged = directory_of(places);
  if (!exists(staged)) return {};
  if (exists(mark_of(places))) {
    CHECK_OK(make_directories(places.pki_dir, 0700));
    for (const std::string& name : list_directory(staged + "/pki"))
      CHECK_OK(move(staged + "/pki/" + name, places.pki_dir + "/" + name));
    CHECK_OK(sync(places.pki_dir, O_DIRECTORY));
    CHECK_OK(move(staged + "/limpet.db", places.store_file));
    CHECK_OK(sync(places.data_dir, O_DIRECTORY));
  }
  return remove_tree(staged);
}

}  // namespace limpet::backup

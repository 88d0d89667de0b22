// Any bytes as the tar archive of a layer, unpacked into a directory in memory: an error with a reason or a
// report that fits what is on the disk, and never a change beside the directory.
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "unpack/layer.h"

using namespace limpet;

namespace {

struct World {
  std::string home, root, beside;
  World() {
    char name[] = "/dev/shm/limpet-fuzz-tar-XXXXXX";
    if (mkdtemp(name) == nullptr) abort();
    home = name;
    root = home + "/root";
    beside = home + "/beside";
    const int fd = open(beside.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "untouched", 9) != 9) abort();
    close(fd);
  }
  ~World() { remove(home); }
  static void remove(const std::string& path) {
    nftw(
        path.c_str(), [](const char* p, const struct stat*, int, FTW*) { return ::remove(p); }, 16,
        FTW_DEPTH | FTW_PHYS);
  }
  void check_beside() const {
    struct stat st{};
    if (lstat(beside.c_str(), &st) != 0 || st.st_size != 9 || st.st_nlink != 1 ||
        (st.st_mode & 07777) != 0600)
      abort();
    std::vector<std::string> names;
    DIR* dir = opendir(home.c_str());
    while (const dirent* e = readdir(dir)) names.emplace_back(e->d_name);
    closedir(dir);
    if (names.size() != 4) abort();  // . .. root beside
  }
};

uint64_t g_files, g_bytes;

int count(const char*, const struct stat* st, int, FTW*) {
  if (S_ISBLK(st->st_mode) || (S_ISCHR(st->st_mode) && st->st_rdev != 0)) abort();  // 0:0 is a whiteout
  if (S_ISREG(st->st_mode)) {
    g_files++;
    g_bytes += static_cast<uint64_t>(st->st_size);
  }
  return 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  if (size == 0) return 0;
  const auto mode = data[0] & 1 ? unpack::Mode::archive : unpack::Mode::layer;
  const int fd = memfd_create("layer", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data + 1, size - 1) != static_cast<ssize_t>(size - 1) ||
      lseek(fd, 0, SEEK_SET) != 0)
    abort();
  if (mkdir(world.root.c_str(), 0700) != 0) abort();
  unpack::LayerLimits limits;
  limits.input.max_bytes = 1 << 20;
  limits.input.max_window_log = 20;
  limits.max_entries = 100;
  auto report = unpack::unpack_layer(
      fd, UniqueFd(open(world.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), mode, limits);
  close(fd);
  if (!report && report.error().message.empty()) abort();
  g_files = g_bytes = 0;
  nftw(world.root.c_str(), count, 16, FTW_PHYS);
  if (report && (report->bytes > limits.input.max_bytes || report->entries > limits.max_entries)) abort();
  // Entries that replace one another leave less on the disk, hard links count there once for each name.
  if (report && report->files > report->entries) abort();
  world.check_beside();
  World::remove(world.root);
  return 0;
}

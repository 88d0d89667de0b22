#include "node/pod/run_files.h"

#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "base/atomic_file.h"
#include "base/tree.h"
#include "node/runtime/rootfs.h"

namespace limpet::node {

namespace {

constexpr size_t kRoomForLogs = 256 << 10;  // termination logs: 4 KB each is read
constexpr int kMaxInodes = 512;

Result<> make_place(const std::string& dir, size_t bytes) {
  CHECK_OK(make_directories(dir, 0755));
  // One that holds files already was made before, by a daemon that mounted none.
  if (is_mounted(dir) || !list_directory(dir).empty()) return {};
  const std::string options = strf("mode=0755,size=%zu,nr_inodes=%d", 2 * bytes + kRoomForLogs, kMaxInodes);
  if (mount("limpet-pod-files", dir.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options.c_str()) == 0)
    return {};
  if (errno == EPERM && geteuid() != 0) return {};  // unit tests; there are no containers without root
  return fail_errno(errno, "mount a tmpfs on " + dir);
}

}  // namespace

Result<> write_run_files(const std::string& dir, const std::vector<RunFile>& files) {
  size_t bytes = 0;
  for (const RunFile& f : files) bytes += f.text.size() + 4096;  // whole pages
  CHECK_OK(make_place(dir, bytes));
  for (const RunFile& f : files) CHECK_OK(write_file_atomic(dir + "/" + f.name, f.text, 0644));
  return {};
}

Result<> remove_run_files(const std::string& dir) {
  CHECK_OK(unmount(dir));
  return remove_tree(dir);
}

}  // namespace limpet::node

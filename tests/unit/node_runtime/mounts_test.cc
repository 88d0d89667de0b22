// Mounts of volumes on a machine whose mounts are shared, as systemd makes them: in a mount namespace of the
// test's own.
#include <doctest/doctest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "../skip.h"
#include "node/runtime/rootfs.h"

using namespace limpet::node;

namespace {

constexpr int cannot = 77;

// What the function returns in a child with a mount namespace of its own; `cannot` where none can be made.
int in_own_space(const std::function<int()>& what) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool alone = unshare(CLONE_NEWNS) == 0 &&
                       mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                       mount("test", "/tmp", "tmpfs", 0, nullptr) == 0;
    _exit(alone ? what() : cannot);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

bool directory(const char* path) { return mkdir(path, 0755) == 0; }

// /tmp/host is a shared tree with a file system in it, /tmp/host/sub/disk.
bool make_host() {
  return directory("/tmp/run") && directory("/tmp/host") &&
         mount("t", "/tmp/host", "tmpfs", 0, nullptr) == 0 &&
         mount(nullptr, "/tmp/host", nullptr, MS_SHARED, nullptr) == 0 && directory("/tmp/host/sub") &&
         directory("/tmp/host/sub/disk") && mount("t", "/tmp/host/sub/disk", "tmpfs", 0, nullptr) == 0;
}

}  // namespace

TEST_CASE("a subPath that goes leaves the machine's own mounts below it") {
  const int result = in_own_space([] {
    if (!make_host()) return cannot;
    if (!bind_sub_path("/tmp/host", "sub", "/tmp/run/holder")) return 1;
    if (!is_mounted("/tmp/run/holder/disk")) return 2;
    // What the machine mounts later is seen, what is unmounted in the copy is not the machine's affair.
    if (!directory("/tmp/host/sub/later") || mount("t", "/tmp/host/sub/later", "tmpfs", 0, nullptr) != 0)
      return cannot;
    if (!is_mounted("/tmp/run/holder/later")) return 3;
    if (umount2("/tmp/run/holder/later", 0) != 0 || !is_mounted("/tmp/host/sub/later")) return 4;
    if (!unmount("/tmp/run/holder") || is_mounted("/tmp/run/holder")) return 5;
    return is_mounted("/tmp/host/sub/disk") && is_mounted("/tmp/host/sub/later") ? 0 : 6;
  });
  if (result == cannot) SKIP_TEST("no mount namespace of its own can be had here");
  CHECK_EQ(result, 0);
}

TEST_CASE("a bind that is still shared with the machine is parted from it before it goes") {
  const int result = in_own_space([] {
    if (!make_host() || !directory("/tmp/run/old")) return cannot;
    if (mount("/tmp/host/sub", "/tmp/run/old", nullptr, MS_BIND | MS_REC, nullptr) != 0) return cannot;
    if (!unmount("/tmp/run/old") || is_mounted("/tmp/run/old")) return 1;
    if (!is_mounted("/tmp/host/sub/disk")) return 2;
    if (!bind_sub_path("/tmp/host", "sub", "/tmp/run/both", true)) return 3;
    if (!directory("/tmp/run/both/new") || mount("t", "/tmp/run/both/new", "tmpfs", 0, nullptr) != 0)
      return cannot;
    if (!is_mounted("/tmp/host/sub/new")) return 4;
    if (!unmount("/tmp/run/both")) return 5;
    return is_mounted("/tmp/host/sub/disk") && is_mounted("/tmp/host/sub/new") ? 0 : 6;
  });
  if (result == cannot) SKIP_TEST("no mount namespace of its own can be had here");
  CHECK_EQ(result, 0);
}

// The network and mount namespace of the tests against the real kernel. One for all of a process, since the
// threads of the pool stay in the one they were born in; each test leaves it as it found it. Nothing outlives
// the process.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/unique_fd.h"

struct Space {
  std::string dir;  // a tmpfs of the test's own
  bool ok = false;  // false: not root, or no namespaces here

  static Space& get() {
    static Space space;
    return space;
  }
  ~Space() {
    umount2(dir.c_str(), MNT_DETACH);
    rmdir(dir.c_str());
  }
  Space(const Space&) = delete;

  // A network namespace held by a bind mount, as the daemon holds those of pods.
  std::string make_netns(const std::string& name) const {
    const std::string path = dir + "/" + name;
    limpet::UniqueFd(open(path.c_str(), O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
    const limpet::UniqueFd home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    REQUIRE(unshare(CLONE_NEWNET) == 0);
    REQUIRE(mount("/proc/thread-self/ns/net", path.c_str(), nullptr, MS_BIND, nullptr) == 0);
    REQUIRE(setns(home.get(), CLONE_NEWNET) == 0);
    return path;
  }

  // Runs a program of the usual places and waits; its exit status, and what it wrote.
  int run(std::vector<std::string> words, std::string* output = nullptr) const {
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char* envp[] = {path, nullptr};
    setenv("PATH", path + 5, 1);
    const std::string file = dir + "/output";
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    if (output) posix_spawn_file_actions_addopen(&files, 1, file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid = -1;
    const int err = posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), envp);
    posix_spawn_file_actions_destroy(&files);
    if (err != 0) return -1;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (output) *output = limpet::read_file(file, 1 << 20).value_or("");
    return status;
  }
  void ip(std::vector<std::string> words) const {
    words.insert(words.begin(), "ip");
    CAPTURE(words.back());
    REQUIRE(run(words) == 0);
  }

 private:
  Space() {
    char name[] = "/tmp/limpet-net-XXXXXX";
    dir = mkdtemp(name);
    ok = geteuid() == 0 && unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("limpet-test", dir.c_str(), "tmpfs", 0, nullptr) == 0;
    // /proc/sys/net shows the namespace of the reader, so nothing else is needed.
  }
};

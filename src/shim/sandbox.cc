// limpet-shim sandbox: makes the namespaces of a pod and leaves them held by bind mounts, then ends.
//
//   net=PATH ipc=PATH uts=PATH   files to mount on (made by the caller); leave out what the pod shares with
//   the host hostname=NAME sysctl=KEY=VALUE ... shm=DIR shm_options=...
//
// An error is one line on stderr and exit code 1; the caller undoes what was done.
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/verbs.h"

namespace limpet::shim {
namespace {

int complain(const char* what, const char* which, int err) {
  Text<1024> line;
  line.add(what).add(which[0] != 0 ? " " : "").add(which).add(": ").add(strerror(err)).add("\n");
  ssize_t n = write(2, line.data(), line.size());
  return n < 0 ? 2 : 1;
}

int raise_loopback() {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ifreq request{};
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int err = ioctl(fd, SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
  close(fd);
  return err;
}

int set_sysctl(const char* word) {
  const char* value = strchr(word, '=');
  if (value == nullptr) return EINVAL;
  Text<512> path;
  path.add("/proc/sys/");
  for (const char* p = word; p < value; ++p) path.add_char(*p == '.' ? '/' : *p);
  if (path.cut() || strstr(path.c_str(), "//") != nullptr) return EINVAL;
  return -write_file(path.c_str(), value + 1);
}

}  // namespace

int sandbox_verb(const Args& args) {
  struct Kind {
    const char* key;
    const char* self;
    int flag;
  };
  static constexpr Kind kinds[] = {{"net", "/proc/self/ns/net", CLONE_NEWNET},
                                   {"ipc", "/proc/self/ns/ipc", CLONE_NEWIPC},
                                   {"uts", "/proc/self/ns/uts", CLONE_NEWUTS}};
  int flags = 0;
  for (const Kind& kind : kinds) flags |= args.get(kind.key)[0] != 0 ? kind.flag : 0;
  if (unshare(flags) != 0) return complain("make namespaces", "", errno);
  if ((flags & CLONE_NEWUTS) != 0) {
    const char* name = args.get("hostname");
    if (sethostname(name, strlen(name)) != 0) return complain("set hostname", name, errno);
  }
  if ((flags & CLONE_NEWNET) != 0) {
    int err = raise_loopback();
    if (err != 0) return complain("bring up lo", "", err);
  }
  int result = 0;
  args.each("sysctl", [&](const char* word) {
    int err = result == 0 ? set_sysctl(word) : 0;
    if (err != 0) result = complain("set sysctl", word, err);
  });
  if (result != 0) return result;
  for (const Kind& kind : kinds) {
    const char* path = args.get(kind.key);
    if (path[0] != 0 && mount(kind.self, path, nullptr, MS_BIND, nullptr) != 0) {
      return complain("hold namespace at", path, errno);
    }
  }
  const char* shm = args.get("shm");
  if (shm[0] != 0 &&
      mount("shm", shm, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, args.get("shm_options")) != 0) {
    return complain("mount tmpfs on", shm, errno);
  }
  return 0;
}

}  // namespace limpet::shim

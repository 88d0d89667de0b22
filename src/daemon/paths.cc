#include "daemon/paths.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/atomic_file.h"

namespace limpet::daemon {
namespace {

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

Paths derive_paths(const Config& c) {
  Paths p;
  p.data_dir = c.data_dir;
  p.run_dir = c.run_dir;
  p.store_file = c.data_dir + "/limpet.db";
  p.node_file = c.data_dir + "/node.db";
  p.roll_file = c.data_dir + "/servers.json";
  p.pki_dir = c.data_dir + "/pki";
  p.images_dir = c.data_dir + "/image";
  p.archives_dir = c.images.archives_dir.empty() ? c.data_dir + "/images" : c.images.archives_dir;
  p.pods_dir = c.data_dir + "/pods";
  p.socket = c.listen.socket.empty() ? c.run_dir + "/limpet.sock" : c.listen.socket;
  p.containers_dir = c.run_dir + "/containers";
  p.netns_dir = c.run_dir + "/netns";
  p.logs_dir = c.logs.dir;
  p.admin_kubeconfig = c.admin_kubeconfig;
  p.manifests_dir = c.manifests_dir;
  return p;
}

Result<> make_directories_of(const Paths& p) {
  CHECK_OK(make_directories(p.data_dir, 0700));
  if (chmod(p.data_dir.c_str(), 0700) != 0) return fail_errno(errno, "chmod " + p.data_dir);
  for (const std::string* path : {&p.pki_dir, &p.images_dir, &p.pods_dir})
    CHECK_OK(make_directories(*path, 0700));
  CHECK_OK(make_directories(p.archives_dir, 0755));
  // The socket in runDir is reached by a group, so that the directory must let others pass.
  CHECK_OK(make_directories(p.run_dir, 0755));
  for (const std::string* path : {&p.containers_dir, &p.netns_dir}) CHECK_OK(make_directories(*path, 0700));
  CHECK_OK(make_directories(p.logs_dir, 0755));
  CHECK_OK(make_directories(p.manifests_dir, 0755));
  CHECK_OK(make_directories(parent_of(p.admin_kubeconfig), 0755));
  return make_directories(parent_of(p.socket), 0755);
}

}  // namespace limpet::daemon

// What a starting daemon finds in its run directory.
#include <linux/magic.h>
#include <sys/statfs.h>

#include <set>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/tree.h"
#include "node/runtime/bundle.h"
#include "node/runtime/records.h"
#include "node/runtime/rootfs.h"
#include "node/runtime/shim_protocol.h"

namespace limpet::node {
namespace {

bool holds_namespace(const std::string& path) {
  struct statfs fs{};
  return statfs(path.c_str(), &fs) == 0 && static_cast<uint64_t>(fs.f_type) == NSFS_MAGIC;
}

class Scanner {
 public:
  Scanner(const Places& places, const Cgroups& cgroups)
      : places_(places), cgroups_(std::make_shared<Cgroups>(cgroups)) {}

  Found run() {
    for (const std::string& uid : list_directory(places_.pods())) pod(uid);
    for (const std::string& id : list_directory(places_.layers())) {
      if (!known_.contains(id))
        problem("remove left layer of container " + id, remove_tree(places_.layer(id)));
    }
    return std::move(found_);
  }

 private:
  void problem(const std::string& what, Result<> r) {
    found_.problems.push_back(r ? what : what + ": " + r.error().message);
  }

  BundleJob job(const std::string& uid, const std::string& id) const {
    BundleJob job;
    job.places = places_;
    job.cgroups = cgroups_;
    job.sandbox.pod_uid = uid;
    job.container.pod_uid = uid;
    job.container.id = id;
    return job;
  }

  void pod(const std::string& uid) {
    bool this_boot = false;
    Result<SandboxConfig> record = read_sandbox_record(places_.pod(uid) + "/pod.json", this_boot);
    bool good = record && this_boot && record->pod_uid == uid;
    size_t before = found_.containers.size();
    for (const std::string& id : list_directory(places_.pod(uid) + "/c")) container(uid, id, good);
    bool whole = good && (record->host_network || holds_namespace(places_.ns(uid) + "/net")) &&
                 (record->host_ipc || holds_namespace(places_.ns(uid) + "/ipc"));
    if (whole || found_.containers.size() > before) {
      if (!whole)
        found_.problems.push_back("pod " + uid + " has containers, but its namespaces are not held");
      found_.sandboxes.push_back(record ? std::move(*record) : job(uid, "").sandbox);
    } else {
      problem("remove left pod " + uid, release_pod(job(uid, "")));
    }
  }

  void container(const std::string& uid, const std::string& id, bool pod_good) {
    std::string dir = places_.container(uid, id);
    bool this_boot = false;
    Result<ContainerConfig> record = read_container_record(dir + "/container.json", this_boot);
    Result<std::string> text = read_file(dir + "/" + shim::status_name, 64 * 1024);
    Result<ContainerStatus> status =
        text ? parse_status(*text) : Result<ContainerStatus>(std::unexpected(text.error()));
    if (!pod_good || !record || !this_boot || record->id != id || record->pod_uid != uid || !status) {
      // Of another boot, or interrupted before there was a shim.
      Result<> gone = release_container(job(uid, id));
      if (!gone) known_.insert(id);
      problem("remove left container " + id, std::move(gone));
      return;
    }
    known_.insert(id);
    FoundContainer c;
    c.config = std::move(*record);
    c.status = std::move(*status);
    c.shim_alive = shim_of(*text).alive();
    if (!c.shim_alive && c.status.state != ContainerState::exited) {
      cgroups_->kill_all(places_.cgroup(uid, id));
      c.status.state = ContainerState::exited;
      c.status.pid = 0;
      c.status.exit_code = 137;
      c.status.signal = 9;
      c.status.reason = "ContainerStatusUnknown";
      c.status.message = "limpet-shim of this container died and took its exit status with it";
      found_.problems.push_back("shim of container " + id +
                                " is gone; what was left of the container was killed");
    }
    found_.containers.push_back(std::move(c));
  }

  Places places_;
  std::shared_ptr<const Cgroups> cgroups_;
  Found found_;
  std::set<std::string> known_;
};

}  // namespace

Found scan(const Places& places, const Cgroups& cgroups) { return Scanner(places, cgroups).run(); }

}  // namespace limpet::node

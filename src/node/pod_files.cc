#include "node/pod_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/failpoint.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "node/pod/run_files.h"

namespace limpet::node {

namespace {

// NAMESPACE_NAME_UID, none of which has an underscore.
bool is_of(const std::string& name, const std::string& uid) {
  return name.ends_with("_" + uid) && std::count(name.begin(), name.end(), '_') == 2;
}

}  // namespace

Result<> remove_logs(const std::string& log_dir, const std::string& uid) {
  bool any = false;
  for (const std::string& name : list_directory(log_dir)) {
    if (!is_of(name, uid)) continue;
    if (LIMPET_FAILPOINT("node.logs.remove")) return fail(Errc::io, "failpoint node.logs.remove");
    CHECK_OK(remove_tree(log_dir + "/" + name));
    any = true;
  }
  if (!any) return {};
  const UniqueFd dir(open(log_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || fsync(dir.get()) != 0) return fail_errno(errno, "sync " + log_dir);
  return {};
}

Result<> remove_pod_files(const PodFiles& files) {
  const Result<> logs = remove_logs(files.log_dir, files.uid);
  CHECK_OK(remove_volumes(files.volumes));
  if (!logs) return logs;
  return remove_run_files(files.etc);
}

}  // namespace limpet::node

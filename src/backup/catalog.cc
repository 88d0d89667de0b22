#include "backup/catalog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "backup/file.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/tree.h"

namespace limpet::backup {
namespace {

constexpr std::string_view prefix = "limpet-", suffix = ".backup";

bool named_as_ours(std::string_view name) { return name.starts_with(prefix) && name.ends_with(suffix); }

bool regular(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

}  // namespace

std::string file_name(const Label& label) {
  std::string time = rfc3339({label.time, 0});
  std::erase_if(time, [](char c) { return c == '-' || c == ':'; });
  return std::string(prefix) + hex(label.cluster).substr(0, 8) + "-" + time +
         strf("-r%lld", static_cast<long long>(label.revision)) + std::string(suffix);
}

std::vector<Found> find_scheduled(const std::string& directory, const std::string& cluster) {
  std::vector<Found> out;
  for (const std::string& name : list_directory(directory)) {
    const std::string path = directory + "/" + name;
    if (!named_as_ours(name) || !regular(path)) continue;
    const auto input = BackupInput::open(path);
    if (!input || !input->header().label.scheduled || input->header().label.cluster != cluster) continue;
    out.push_back({name, input->header().label, input->size()});
  }
  const auto age = [](const Found& f) { return std::tie(f.label.time, f.label.revision, f.name); };
  std::sort(out.begin(), out.end(), [&](const Found& a, const Found& b) { return age(a) > age(b); });
  return out;
}

Result<size_t> retain(const std::string& directory, const std::string& cluster, size_t keep) {
  remove_unfinished(directory, named_as_ours);
  const std::vector<Found> found = find_scheduled(directory, cluster);
  size_t gone = 0;
  for (size_t i = keep; i < found.size(); i++) {
    const std::string path = directory + "/" + found[i].name;
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove " + path);
    gone++;
  }
  return gone;
}

}  // namespace limpet::backup

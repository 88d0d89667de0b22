#include "node/log_budget.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/log.h"
#include "base/tree.h"
#include "node/runtime/rootfs.h"

namespace limpet::node {

namespace {

constexpr int64_t kEveryMs = 60'000;

// "3.log" and "3.log.2": the run, and whether it is a rotated part. False when the name is neither.
bool parse_name(std::string_view name, int64_t* run, bool* rotated) {
  const auto number = std::from_chars(name.data(), name.data() + name.size(), *run);
  if (number.ec != std::errc()) return false;
  const std::string_view rest = name.substr(static_cast<size_t>(number.ptr - name.data()));
  *rotated = rest.size() > 5;
  return rest == ".log" || (rest.starts_with(".log.") && rest.size() > 5);
}

void find_in_container(const std::string& dir, std::vector<LogFileInfo>* out) {
  int64_t newest = -1;
  const size_t first = out->size();
  std::vector<int64_t> runs;
  for (const std::string& name : list_directory(dir)) {
    LogFileInfo f;
    int64_t run = 0;
    struct stat st{};
    if (!parse_name(name, &run, &f.rotated)) continue;
    f.path = dir + "/" + name;
    if (lstat(f.path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    f.bytes = st.st_blocks * 512;
    f.modified_s = st.st_mtim.tv_sec;
    newest = std::max(newest, run);
    runs.push_back(run);
    out->push_back(std::move(f));
  }
  for (size_t i = first; i < out->size(); i++) {
    (*out)[i].newest_run = runs[i - first] == newest;
    (*out)[i].outdated = runs[i - first] < newest - 1;
  }
}

}  // namespace

std::vector<std::string> over_budget(std::vector<LogFileInfo> files, int64_t budget_bytes) {
  int64_t total = 0;
  for (const LogFileInfo& f : files) total += f.bytes;
  std::erase_if(files, [](const LogFileInfo& f) { return f.newest_run && !f.rotated; });
  // Earlier runs before parts of the newest, each from the oldest on.
  std::sort(files.begin(), files.end(), [](const LogFileInfo& a, const LogFileInfo& b) {
    if (a.newest_run != b.newest_run) return b.newest_run;
    if (a.modified_s != b.modified_s) return a.modified_s < b.modified_s;
    return a.path > b.path;  // of one second: the higher number is the older part
  });
  std::vector<std::string> gone;
  for (const LogFileInfo& f : files) {
    if (!f.outdated) continue;
    total -= f.bytes;
    gone.push_back(f.path);
  }
  std::erase_if(files, [](const LogFileInfo& f) { return f.outdated; });
  for (const LogFileInfo& f : files) {
    if (total <= budget_bytes) break;
    total -= f.bytes;
    gone.push_back(f.path);
  }
  return gone;
}

std::vector<LogFileInfo> find_logs(const std::string& dir) {
  std::vector<LogFileInfo> files;
  for (const std::string& pod : list_directory(dir)) {
    for (const std::string& container : list_directory(dir + "/" + pod)) {
      find_in_container(dir + "/" + pod + "/" + container, &files);
    }
  }
  return files;
}

LogBudget::LogBudget(loop::Loop& loop, std::string dir, int64_t budget_bytes)
    : loop_(loop), dir_(std::move(dir)), budget_bytes_(budget_bytes), timer_(loop, "log-budget") {}

void LogBudget::start() {
  timer_.repeat(kEveryMs, [this] { look(); });
}

void LogBudget::look() {
  if (work_.busy()) return;
  auto gone = std::make_shared<std::vector<std::string>>();
  work_.start(
      loop_,
      [gone, dir = dir_, budget = budget_bytes_] {
        *gone = over_budget(find_logs(dir), budget);
        for (const std::string& path : *gone) unlink(path.c_str());
      },
      [this, gone] {
        if (gone->empty()) return;
        log::debug("old container logs were removed",
                   {{"files", gone->size()}, {"budget_bytes", budget_bytes_}});
      });
}

}  // namespace limpet::node

#include "node/runtime/user.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/unique_fd.h"

namespace limpet::node {
namespace {

constexpr size_t max_file = 1 << 20;
constexpr size_t max_groups = 1024;

std::optional<uint32_t> number(std::string_view text) {
  if (text.empty() || text.size() > 10) return std::nullopt;
  uint64_t n = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + static_cast<uint64_t>(c - '0');
  }
  if (n > 0xfffffffeu) return std::nullopt;
  return static_cast<uint32_t>(n);
}

// Cuts the next field off `line` at the separator.
std::string_view field(std::string_view& line, char separator) {
  size_t end = std::min(line.find(separator), line.size());
  std::string_view text = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return text;
}

struct Account {
  std::string_view name, home;
  uint32_t uid = 0, gid = 0;
};

std::optional<Account> find_account(std::string_view passwd, std::string_view name,
                                    std::optional<uint32_t> uid) {
  while (!passwd.empty()) {
    std::string_view line = field(passwd, '\n');
    Account a;
    a.name = field(line, ':');
    field(line, ':');
    std::optional<uint32_t> this_uid = number(field(line, ':'));
    std::optional<uint32_t> this_gid = number(field(line, ':'));
    field(line, ':');
    a.home = field(line, ':');
    if (a.name.empty() || !this_uid || !this_gid) continue;
    a.uid = *this_uid;
    a.gid = *this_gid;
    if (uid ? a.uid == *uid : a.name == name) return a;
  }
  return std::nullopt;
}

struct Groups {
  std::optional<uint32_t> named;
  std::vector<uint32_t> of_member;
};

Groups read_groups(std::string_view group, std::string_view wanted, std::string_view member) {
  Groups found;
  while (!group.empty()) {
    std::string_view line = field(group, '\n');
    std::string_view name = field(line, ':');
    field(line, ':');
    std::optional<uint32_t> gid = number(field(line, ':'));
    if (name.empty() || !gid) continue;
    if (!found.named && !wanted.empty() && name == wanted) found.named = gid;
    while (!line.empty() && !member.empty()) {
      if (field(line, ',') == member && found.of_member.size() < max_groups) {
        found.of_member.push_back(*gid);
        break;
      }
    }
  }
  return found;
}

}  // namespace

Result<ProcessUser> resolve_user(std::string_view user, std::string_view passwd, std::string_view group) {
  std::string_view rest = user;
  std::string_view who = field(rest, ':');
  std::string_view of = rest;
  if (user.size() > 256 || of.find(':') != std::string_view::npos ||
      user.find('/') != std::string_view::npos || user.find('\0') != std::string_view::npos ||
      (who.empty() && !user.empty())) {
    return fail(Errc::invalid_argument, "user \"" + std::string(user.substr(0, 64)) + "\" is malformed");
  }
  ProcessUser result;
  std::optional<uint32_t> uid = who.empty() ? 0u : number(who);
  std::optional<Account> account = find_account(passwd, who, uid);
  if (!uid && !account) {
    return fail(Errc::invalid_argument, "user " + std::string(who) + " is not in the image's /etc/passwd");
  }
  result.uid = uid ? *uid : account->uid;
  if (account) {
    result.gid = account->gid;
    if (account->home.starts_with('/') && account->home.size() < 4096) result.home = account->home;
  }
  Groups groups = read_groups(group, of, account ? account->name : std::string_view());
  if (!of.empty()) {
    std::optional<uint32_t> gid = number(of);
    if (!gid) gid = groups.named;
    if (!gid) {
      return fail(Errc::invalid_argument, "group " + std::string(of) + " is not in the image's /etc/group");
    }
    result.gid = *gid;
  } else {
    result.groups = std::move(groups.of_member);
  }
  std::sort(result.groups.begin(), result.groups.end());
  result.groups.erase(std::unique(result.groups.begin(), result.groups.end()), result.groups.end());
  std::erase(result.groups, result.gid);
  return result;
}

Result<std::string> read_in_root(const std::string& root, const std::string& path, size_t max_size) {
  UniqueFd dir(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return fail_errno(errno, "open " + root);
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, dir.get(), path.c_str(), &how, sizeof how)));
  if (!fd)
    return errno == ENOENT || errno == ENOTDIR ? Result<std::string>(std::string()) : fail_errno(errno, path);
  struct stat st{};
  if (fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode))
    return fail(Errc::invalid_argument, path + ": no regular file");
  std::string text;
  while (text.size() < max_size) {
    char buffer[8192];
    ssize_t n = read(fd.get(), buffer, std::min(sizeof buffer, max_size - text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, path);
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  return text;
}

Result<ProcessUser> resolve_user_in(const std::string& rootfs, std::string_view user) {
  TRY(std::string passwd, read_in_root(rootfs, "etc/passwd", max_file));
  TRY(std::string group, read_in_root(rootfs, "etc/group", max_file));
  return resolve_user(user, passwd, group);
}

}  // namespace limpet::node

// The directory a layer is written into. Every operation starts at its root and walks down one component at a
// time without following a symbolic link, so that nothing is ever written outside, whatever the layer holds.
//
// Blocking, single-threaded, owned by the unpack run. Errors do not name the entry: the caller does.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace limpet::unpack {

using Components = std::vector<std::string>;

// "./a//b/" and "/a/b" are {a, b}: the root of a layer is where it is unpacked. "." is {}. Refused: "..", an
// empty name, more than 4096 components.
Result<Components> split_entry(std::string_view name);
std::string join(const Components& path);

struct Attributes {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0;  // the twelve permission bits
  timespec mtime{};
  std::vector<std::pair<std::string, std::string>> xattrs;
};

class Tree {
 public:
  explicit Tree(UniqueFd root);

  Result<> directory(const Components& path, const Attributes& attributes);
  // A new empty file, which replaces what is there; the caller writes into the descriptor and ends with
  // finish_file.
  Result<UniqueFd> file(const Components& path);
  Result<> finish_file(int fd, const Attributes& attributes);
  Result<> symlink(const Components& path, const std::string& target, const Attributes& attributes);
  Result<> fifo(const Components& path, const Attributes& attributes);
  // To a regular file of the same layer that is there already.
  Result<> hard_link(const Components& path, const Components& target);
  // path is what is hidden; its last component comes without the prefix.
  Result<> whiteout(const Components& path);
  Result<> opaque(const Components& path);
  // Sets the times of directories, which later entries disturbed. Last.
  Result<> finish();

  // Directories that no entry described: they take owner and mode from the layers below.
  const std::set<std::string>& implicit() const { return implicit_; }
  // Directories that hide what the layers below have there.
  const std::set<std::string>& opaque_directories() const { return opaque_; }

 private:
  struct Times {
    Components path;
    timespec mtime;
  };
  Result<int> parent_of(const Components& path, bool create);
  Result<UniqueFd> step(int dir, const std::string& name, const std::string& path, bool create);
  Result<> make_room(int dir, const std::string& name);

  UniqueFd root_;
  std::string cached_path_;
  UniqueFd cached_;
  std::set<std::string> implicit_, opaque_;
  std::vector<Times> times_;
};

}  // namespace limpet::unpack

#include "base/tree.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "../skip.h"

namespace fs = std::filesystem;
using limpet::list_directory;
using limpet::remove_tree;

namespace {

struct Scratch {
  Scratch() {
    std::string name = (fs::temp_directory_path() / "tree-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Scratch() { fs::remove_all(path); }
  fs::path path;
};

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "x";
}

}  // namespace

TEST_CASE("names come sorted, and a directory that is not there has none") {
  Scratch scratch;
  touch(scratch.path / "b");
  touch(scratch.path / "a/deep");
  CHECK(list_directory(scratch.path) == std::vector<std::string>{"a", "b"});
  CHECK(list_directory(scratch.path / "none").empty());
  CHECK(list_directory(scratch.path / "b").empty());
}

TEST_CASE("a tree goes, whatever it is made of, and nothing that it points to") {
  Scratch scratch;
  touch(scratch.path / "kept/file");
  const fs::path tree = scratch.path / "tree";
  touch(tree / "a/b/file");
  fs::create_symlink(scratch.path / "kept", tree / "link");
  fs::create_directory_symlink(scratch.path / "kept", tree / "a/link");
  REQUIRE(mkfifo((tree / "pipe").c_str(), 0600) == 0);
  CHECK(remove_tree(tree));
  CHECK_FALSE(fs::exists(tree));
  CHECK(fs::exists(scratch.path / "kept/file"));
  CHECK(remove_tree(tree));  // what is gone is gone
  fs::create_symlink(scratch.path / "kept", tree);
  CHECK(remove_tree(tree));
  CHECK(fs::exists(scratch.path / "kept/file"));
}

TEST_CASE("a tree deeper than what is opened at once goes, too") {
  Scratch scratch;
  const fs::path tree = scratch.path / "tree";
  REQUIRE(mkdir(tree.c_str(), 0700) == 0);
  int at = open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int depth = 0; depth < 500; ++depth) {
    REQUIRE(mkdirat(at, "d", 0700) == 0);
    const int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(at);
    at = next;
  }
  close(at);
  CHECK(remove_tree(tree));
  CHECK_FALSE(fs::exists(tree));
}

TEST_CASE("what cannot go is told with its reason, and all the rest is gone") {
  if (geteuid() != 0) SKIP_TEST("mounting needs root");
  Scratch scratch;
  const fs::path tree = scratch.path / "tree", mounted = tree / "a/b/mounted";
  touch(tree / "a/file");
  touch(tree / "z/file");
  fs::create_directories(mounted);
  if (mount("none", mounted.c_str(), "tmpfs", 0, "size=64k") != 0) SKIP_TEST("no tmpfs can be mounted here");
  touch(mounted / "theirs");
  const auto removed = remove_tree(tree);
  const bool theirs = fs::exists(mounted / "theirs"), file = fs::exists(tree / "a/file"),
             z = fs::exists(tree / "z");
  REQUIRE(umount(mounted.c_str()) == 0);
  REQUIRE_FALSE(removed);
  CHECK(removed.error().sys_errno == EBUSY);
  CHECK(theirs);
  CHECK_FALSE(file);
  CHECK_FALSE(z);
  CHECK(remove_tree(tree));
}

#include "base/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/failpoint.h"

using namespace limpet;

namespace {

class Directory {
 public:
  Directory() { REQUIRE(mkdtemp(path_) != nullptr); }
  ~Directory() {
    for (const char* name : {"/f", "/g"}) unlink((path() + name).c_str());
    CHECK_EQ(rmdir(path_), 0);  // so that a left-over temporary file is noticed
  }
  std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/limpet-file-XXXXXX";
};

unsigned mode_of(const std::string& path) {
  struct stat st{};
  REQUIRE_EQ(stat(path.c_str(), &st), 0);
  return st.st_mode & 07777;
}

}  // namespace

TEST_CASE("a file is written whole, replaced whole, with its mode") {
  const Directory d;
  const std::string path = d.path() + "/f";
  for (unsigned mode : {0600u, 0644u, 0640u}) {
    const std::string text = "content " + std::to_string(mode);
    REQUIRE(write_file_atomic(path, text, mode).has_value());
    CHECK_EQ(read_file(path, 100).value(), text);
    CHECK_EQ(mode_of(path), mode);
  }
  REQUIRE(write_file_atomic(path, "", 0600).has_value());
  CHECK_EQ(read_file(path, 0).value(), "");
  const std::string large(100000, 'x');
  REQUIRE(write_file_atomic(path, large, 0600).has_value());
  CHECK_EQ(read_file(path, large.size()).value(), large);
  CHECK((read_file(path, large.size() - 1).error().code == Errc::too_large));
  CHECK((read_file(d.path() + "/none", 10).error().code == Errc::not_found));
  auto nowhere = write_file_atomic(d.path() + "/none/f", "x", 0600);
  REQUIRE(!nowhere.has_value());
  CHECK(nowhere.error().message.find(d.path()) != std::string::npos);
}

#ifdef LIMPET_FAILPOINTS
TEST_CASE("whatever step fails, the old content or the new one is there and nothing else is") {
  struct Row {
    const char *armed, *content;
  };
  for (const Row& row : {Row{"t=error", "old"}, Row{"t.rename=error", "old"}, Row{"t.synced=error", "new"}}) {
    CAPTURE(std::string(row.armed));
    const Directory d;
    const std::string path = d.path() + "/f";
    REQUIRE(write_file_atomic(path, "old", 0600).has_value());
    failpoint::arm(row.armed);
    CHECK(!write_file_atomic(path, "new", 0600, "t").has_value());
    failpoint::arm("");
    CHECK_EQ(read_file(path, 10).value(), row.content);
  }
}
#endif

TEST_CASE("left-over temporary files go, others stay") {
  const Directory d;
  REQUIRE(write_file_atomic(d.path() + "/f", "x", 0600).has_value());
  const std::string stale = d.path() + "/.g.tmp-a1B2c3";
  REQUIRE(write_file_atomic(stale, "x", 0600).has_value());
  remove_temporaries(d.path());
  CHECK_NE(access(stale.c_str(), F_OK), 0);
  CHECK_EQ(access((d.path() + "/f").c_str(), F_OK), 0);
  remove_temporaries(d.path() + "/none");
}

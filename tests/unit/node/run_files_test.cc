#include "node/pod/run_files.h"
#include "../skip.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/unique_fd.h"
#include "node/runtime/rootfs.h"

using namespace limpet;
using namespace limpet::node;

TEST_CASE("a container cannot fill the runtime directory through its files") {
  if (geteuid() != 0) SKIP_TEST("needs root");
  char name[] = "/tmp/limpet-files-XXXXXX";
  REQUIRE(mkdtemp(name));
  const std::string dir = std::string(name) + "/u1";
  const std::string text(10000, 'h');
  REQUIRE(write_run_files(dir, {{"hosts", text}, {"hostname", "web\n"}}).has_value());
  CHECK(is_mounted(dir));
  {
    const UniqueFd fd(open((dir + "/hosts").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    size_t taken = 0;
    for (ssize_t n; taken < (4u << 20) && (n = write(fd.get(), text.data(), text.size())) > 0;)
      taken += static_cast<size_t>(n);
    CHECK(taken < (512u << 10));
  }
  // A restart of the daemon finds it full and leaves what is there whole.
  (void)write_run_files(dir, {{"hosts", text}, {"hostname", "web\n"}}).has_value();
  CHECK(*read_file(dir + "/hostname", 100) == "web\n");
  // What starts next still gets its (empty) termination log.
  const UniqueFd log(open((dir + "/next").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
  CHECK(static_cast<bool>(log));
  CHECK(remove_run_files(dir).has_value());
  CHECK(remove_run_files(dir).has_value());
  CHECK(rmdir(name) == 0);
}

// limpet: the command line of a device.
#include <fcntl.h>
#include <unistd.h>

#include "cli/commands.h"

int main(int argc, char** argv) {
  using namespace limpet;
  // A descriptor that is missing would be taken by the next file that is opened.
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return cli::exit_failed;
  }
  loop::Loop loop;
  SystemClock clock;
  cli::Output output = cli::standard_output();
  return cli::run({argv + 1, argv + argc}, loop, output, clock);
}

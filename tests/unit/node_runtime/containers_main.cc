// Real containers. Skipped (77) with a reason where they cannot run.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sys/prctl.h>

#include <cstdio>

#include "rig.h"

int main(int argc, char** argv) {
  std::string why = rig::missing();
  if (!why.empty()) {
    printf("skipped: %s\n", why.c_str());
    return 77;
  }
  doctest::Context context(argc, argv);
  return context.run();
}

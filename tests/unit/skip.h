// A test that this machine cannot run says so, with the reason, and returns. tests/lib/runner.py counts it as
// skipped.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>

inline void say_skipped(const char* reason) {
  printf("SKIP\t%s\t%s\n", doctest::getContextOptions()->currentTest->m_name, reason);
  fflush(stdout);
}

#define SKIP_TEST(reason) \
  do {                    \
    say_skipped(reason);  \
    return;               \
  } while (false)

// Assertions stay on in release: a broken invariant ends the process with the place and the expression,
// because a daemon that is restarted in a known state beats one that goes on in an unknown one.
#pragma once

namespace limpet {
[[noreturn]] void assert_failed(const char* file, int line, const char* expr) noexcept;
}

#define LIMPET_ASSERT(expr) \
  (__builtin_expect(!!(expr), 1) ? static_cast<void>(0) : ::limpet::assert_failed(__FILE__, __LINE__, #expr))

// Errors are values: every fallible function of limpet returns Result<T>.
//
// An Error has a coarse code (what the caller may branch on), a message for a person and, where the
// kernel said no, the errno. Context is added on the way up ("open /x: permission denied" becomes
// "read configuration: open /x: permission denied"); the edge of a room logs once. A bug is not an
// Error: it asserts (base/assert.h).
#pragma once

#include <cstdarg>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace limpet {

enum class Errc {
  invalid_argument,  // the input is wrong and will stay wrong
  not_found,
  already_exists,
  conflict,           // a precondition no longer holds
  permission_denied,  // known, but not allowed
  unauthenticated,
  unavailable,  // may work later; certainly not done
  timeout,      // outcome unknown
  exhausted,    // a limit was reached (memory, descriptors, queue, disk)
  too_large,
  expired,  // a revision, token or certificate is too old
  corrupt,  // stored or received bytes fail their check
  unsupported,
  cancelled,
  io,
  internal,
};

// The name used in logs, for example "not_found".
std::string_view errc_name(Errc code);

struct Error {
  Errc code = Errc::internal;
  std::string message;
  int sys_errno = 0;

  // Prefixes the message: Error("permission denied").with("open /x") says "open /x: permission denied".
  Error with(std::string_view context) &&;
};

template <class T = void>
struct [[nodiscard]] Result : std::expected<T, Error> {
  using std::expected<T, Error>::expected;
};

// printf into a std::string; the one formatter of the code base (g++ 12 has no std::format).
std::string strf(const char* fmt, ...) __attribute__((format(printf, 1, 2)));
std::string vstrf(const char* fmt, va_list args);

std::unexpected<Error> fail(Errc code, std::string message);
// Takes a positive errno; the message is "CONTEXT: strerror". The code follows from the errno.
std::unexpected<Error> fail_errno(int err, std::string_view context);
Errc errc_of_errno(int err);

}  // namespace limpet

#define LIMPET_CAT2(a, b) a##b
#define LIMPET_CAT(a, b) LIMPET_CAT2(a, b)

// TRY(auto x, f()): x is the value of f(), or the error is returned to the caller.
#define TRY(decl, expr)                                                                                   \
  auto LIMPET_CAT(try_, __LINE__) = (expr);                                                               \
  if (!LIMPET_CAT(try_, __LINE__)) return std::unexpected(std::move(LIMPET_CAT(try_, __LINE__)).error()); \
  decl = std::move(*LIMPET_CAT(try_, __LINE__))

// CHECK_OK(f()): the error of a Result<void> is returned to the caller.
#define CHECK_OK(expr)                                              \
  do {                                                              \
    auto try_ok = (expr);                                           \
    if (!try_ok) return std::unexpected(std::move(try_ok).error()); \
  } while (0)

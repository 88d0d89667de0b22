#include "base/result.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace limpet {

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return "invalid_argument";
    case Errc::not_found:
      return "not_found";
    case Errc::already_exists:
      return "already_exists";
    case Errc::conflict:
      return "conflict";
    case Errc::permission_denied:
      return "permission_denied";
    case Errc::unauthenticated:
      return "unauthenticated";
    case Errc::unavailable:
      return "unavailable";
    case Errc::timeout:
      return "timeout";
    case Errc::exhausted:
      return "exhausted";
    case Errc::too_large:
      return "too_large";
    case Errc::expired:
      return "expired";
    case Errc::corrupt:
      return "corrupt";
    case Errc::unsupported:
      return "unsupported";
    case Errc::cancelled:
      return "cancelled";
    case Errc::io:
      return "io";
    case Errc::internal:
      return "internal";
  }
  return "internal";
}

Error Error::with(std::string_view context) && {
  std::string text;
  text.reserve(context.size() + 2 + message.size());
  text.append(context).append(": ").append(message);
  message = std::move(text);
  return std::move(*this);
}

std::string vstrf(const char* fmt, va_list args) {
  char small[256];
  va_list again;
  va_copy(again, args);
  const int n = vsnprintf(small, sizeof small, fmt, args);
  std::string out;
  if (n < 0) {
    out = fmt;
  } else if (static_cast<size_t>(n) < sizeof small) {
    out.assign(small, static_cast<size_t>(n));
  } else {
    out.resize(static_cast<size_t>(n));
    vsnprintf(out.data(), out.size() + 1, fmt, again);
  }
  va_end(again);
  return out;
}

std::string strf(const char* fmt, ...) {
  va_list args;
  va_start(args, fmt);
  std::string out = vstrf(fmt, args);
  va_end(args);
  return out;
}

std::unexpected<Error> fail(Errc code, std::string message) {
  return std::unexpected(Error{code, std::move(message), 0});
}

Errc errc_of_errno(int err) {
  switch (err) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
      return Errc::not_found;
    case EEXIST:
    case EADDRINUSE:
      return Errc::already_exists;
    case EACCES:
    case EPERM:
      return Errc::permission_denied;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
      return Errc::invalid_argument;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return Errc::exhausted;
    case ETIMEDOUT:
      return Errc::timeout;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EAGAIN:
    case EBUSY:
      return Errc::unavailable;
    case ENOSYS:
    case EOPNOTSUPP:
      return Errc::unsupported;
    case ECANCELED:
      return Errc::cancelled;
    default:
      return Errc::io;
  }
}

std::unexpected<Error> fail_errno(int err, std::string_view context) {
  std::string text(context);
  text.append(": ").append(strerrordesc_np(err) ? strerrordesc_np(err) : "unknown error");
  return std::unexpected(Error{errc_of_errno(err), std::move(text), err});
}

}  // namespace limpet

#include "daemon/versions.h"

#include <mbedtls/version.h>
#include <sqlite3.h>
#include <uv.h>
#ifdef LIMPET_LLHTTP
#include <llhttp.h>
#else
#include <http_parser.h>
#endif

#include "base/result.h"

namespace limpet::daemon {

Versions linked_versions() {
  const unsigned int mbed = mbedtls_version_get_number();
  Versions v;
  v.limpet = LIMPET_VERSION;
  v.sqlite = sqlite3_libversion();
  v.mbedtls = strf("%u.%u.%u", mbed >> 24, mbed >> 16 & 0xff, mbed >> 8 & 0xff);
  v.libuv = uv_version_string();
#ifdef LIMPET_LLHTTP
  v.http_parser = strf("llhttp %d.%d.%d", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
#else
  const unsigned long parser = http_parser_version();
  v.http_parser = strf("http-parser %lu.%lu.%lu", parser >> 16 & 0xff, parser >> 8 & 0xff, parser & 0xff);
#endif
  return v;
}

}  // namespace limpet::daemon

#include "cli/archive.h"

#include <zlib.h>

#include <cstdio>
#include <cstring>

#include "base/assert.h"

namespace limpet::cli {
namespace {

constexpr size_t block = 512;

}  // namespace

void Archive::add(std::string_view name, std::string_view bytes) {
  LIMPET_ASSERT(!name.empty() && name.size() < 100);
  char header[block] = {};
  memcpy(header, name.data(), name.size());
  snprintf(header + 100, 8, "%07o", 0600u);
  snprintf(header + 108, 8, "%07o", 0u);
  snprintf(header + 116, 8, "%07o", 0u);
  snprintf(header + 124, 12, "%011llo", static_cast<unsigned long long>(bytes.size()));
  snprintf(header + 136, 12, "%011llo", static_cast<unsigned long long>(time_));
  memset(header + 148, ' ', 8);
  header[156] = '0';
  memcpy(header + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  snprintf(header + 148, 8, "%06o", sum);
  tar_.append(header, block).append(bytes);
  tar_.append((block - bytes.size() % block) % block, '\0');
}

std::string Archive::tar() const { return tar_ + std::string(2 * block, '\0'); }

Result<std::string> Archive::gzip() const {
  std::string in = tar();
  z_stream z{};
  constexpr int gzip_window = 15 + 16;
  if (deflateInit2(&z, 6, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return fail(Errc::exhausted, "gzip: no memory");
  std::string out(deflateBound(&z, in.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(in.data());
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  const int rc = deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  if (rc != Z_STREAM_END) return fail(Errc::internal, "gzip: the archive cannot be packed");
  return out;
}

}  // namespace limpet::cli

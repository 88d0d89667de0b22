#include "cli/archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/assert.h"
#include "base/unique_fd.h"

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

std::string_view last_lines(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  // From the line end before what fits, so that a whole line that just fits stays.
  const size_t end = text.find('\n', text.size() - max_bytes - 1);
  return end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
}

Result<std::string> read_end(const std::string& path, size_t max_bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(errno, "open " + path);
  struct stat st{};
  if (fstat(fd.get(), &st) != 0) return fail_errno(errno, "look at " + path);
  if (!S_ISREG(st.st_mode)) return fail(Errc::invalid_argument, path + " is no file");
  // One byte more tells whether a line begins there.
  const off_t from = std::max<off_t>(0, st.st_size - static_cast<off_t>(max_bytes) - 1);
  std::string text(static_cast<size_t>(st.st_size - from), '\0');
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t n =
        pread(fd.get(), text.data() + have, text.size() - have, from + static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read " + path);
    if (n == 0) break;  // it was cut meanwhile
    have += static_cast<size_t>(n);
  }
  text.resize(have);
  return std::string(last_lines(text, max_bytes));
}

}  // namespace limpet::cli

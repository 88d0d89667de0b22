#include "store/wal_check.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/unique_fd.h"

namespace limpet::store {
namespace {

constexpr size_t kHeader = 32;
constexpr size_t kFrameHeader = 24;

uint32_t big32(const char* p) {
  const auto* u = reinterpret_cast<const uint8_t*>(p);
  return static_cast<uint32_t>(u[0]) << 24 | static_cast<uint32_t>(u[1]) << 16 |
         static_cast<uint32_t>(u[2]) << 8 | u[3];
}

uint32_t little32(const char* p) { return __builtin_bswap32(big32(p)); }

struct Sum {
  uint32_t a = 0, b = 0;
  bool operator==(const Sum&) const = default;
};

// The log's own checksum, over pairs of 32-bit words in the byte order that the header names.
Sum add(Sum s, std::string_view bytes, bool big) {
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    const char* p = bytes.data() + i;
    s.a += (big ? big32(p) : little32(p)) + s.b;
    s.b += (big ? big32(p + 4) : little32(p + 4)) + s.a;
  }
  return s;
}

Sum stored_sum(const char* p) { return {big32(p), big32(p + 4)}; }

// After a bad frame (the first of `frames`; `sum` is what it should have continued): does a frame that ends a
// transaction come with another one that continues it? Then that transaction was synced before the later
// frame was written. What an abandoned transaction left behind does not continue the frame before it.
bool synced_behind(std::string_view frames, size_t frame_size, std::string_view salts, Sum sum, bool big) {
  const auto ours = [&](std::string_view f) { return f.substr(8, 8) == salts && big32(f.data()) != 0; };
  const auto after = [&](Sum s, std::string_view f) {
    return add(add(s, f.substr(0, 8), big), f.substr(kFrameHeader), big);
  };
  for (size_t at = 0; at + 2 * frame_size <= frames.size(); at += frame_size) {
    const std::string_view f = frames.substr(at, frame_size),
                           next = frames.substr(at + frame_size, frame_size);
    const Sum kept = stored_sum(f.data() + 16), due = after(sum, f);
    sum = kept;
    if (!ours(next) || big32(f.data() + 4) == 0) continue;
    const Sum has = stored_sum(next.data() + 16);
    if (after(kept, next) == has || after(due, next) == has) return true;
  }
  return false;
}

}  // namespace

Result<WalReport> check_wal(std::string_view bytes) {
  WalReport report;
  if (bytes.size() < kHeader) {
    report.torn_tail = !bytes.empty();
    return report;
  }
  const uint32_t magic = big32(bytes.data());
  const uint32_t page = big32(bytes.data() + 8);
  const bool known = (magic | 1) == 0x377f0683 && page >= 512 && page <= 65536 && (page & (page - 1)) == 0;
  const bool big = magic & 1;
  Sum sum = add({}, bytes.substr(0, 24), big);
  if (!known || sum != stored_sum(bytes.data() + 24)) {
    // A torn header means that nothing of this generation was ever synced, unless the first frame fits it
    // after all.
    if (bytes.size() > kHeader + kFrameHeader && bytes.substr(16, 8) == bytes.substr(kHeader + 8, 8)) {
      return fail(Errc::corrupt, "the header is damaged though frames that belong to it follow");
    }
    report.torn_tail = true;
    return report;
  }
  const std::string_view salts = bytes.substr(16, 8);
  const size_t frame_size = kFrameHeader + page;
  for (size_t at = kHeader; at + frame_size <= bytes.size(); at += frame_size) {
    const std::string_view f = bytes.substr(at, frame_size);
    const Sum next = add(add(sum, f.substr(0, 8), big), f.substr(kFrameHeader), big);
    if (f.substr(8, 8) != salts || big32(f.data()) == 0 || next != stored_sum(f.data() + 16)) {
      if (synced_behind(bytes.substr(at), frame_size, salts, sum, big)) {
        return fail(Errc::corrupt, strf("frame %llu is damaged and later transactions depend on it",
                                        static_cast<unsigned long long>(report.frames + 1)));
      }
      report.torn_tail = f.substr(8, 8) == salts;
      return report;
    }
    sum = next;
    ++report.frames;
    if (big32(f.data() + 4) != 0) ++report.commits;
  }
  return report;
}

Result<WalReport> check_wal_file(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return WalReport{};
    return fail_errno(errno, "open " + path);
  }
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return fail_errno(errno, "stat " + path);
  if (st.st_size == 0) return WalReport{};
  const auto size = static_cast<size_t>(st.st_size);
  void* map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (map == MAP_FAILED) return fail_errno(errno, "map " + path);
  auto report = check_wal({static_cast<const char*>(map), size});
  munmap(map, size);
  if (!report) return std::unexpected(std::move(report).error().with(path));
  return report;
}

}  // namespace limpet::store

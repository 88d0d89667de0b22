// Any bytes as the compressed stream of a layer: gzip, zstd or plain, within the limits. Only the decoders;
// the tar reader writes to disk and is attacked by the tests of the program.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "unpack/input.h"
#include "unpack/tree.h"

using namespace limpet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto path = unpack::split_entry(bytes)) {
    for (const std::string& part : *path) {
      if (part.empty() || part == "." || part == ".." || part.find('/') != std::string::npos) abort();
    }
  }
  const int fd = memfd_create("layer", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size) || lseek(fd, 0, SEEK_SET) != 0) abort();
  unpack::InputLimits limits;
  limits.max_bytes = 8 << 20;
  limits.max_window_log = 22;
  unpack::Input input(fd, limits);
  auto drained = input.drain();
  if (!drained && drained.error().message.empty()) abort();
  if (drained && input.bytes_out() > limits.max_bytes) abort();
  close(fd);
  return 0;
}

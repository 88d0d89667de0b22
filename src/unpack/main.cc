// limpet-unpack: reads one layer from descriptor 3, writes it into the directory of descriptor 4, prints one
// line of JSON and ends. Started by limpetd for every layer, because layers are bytes of strangers.
//
//   limpet-unpack layer|archive [--max-bytes=N] [--max-entries=N] [--max-ratio=N] [--memory=N]
//
// {"ok":true,"digest":"sha256:...","bytes":N,"entries":N,"files":N,"fileBytes":N,"implicit":[...],
//  "opaque":[...]}, paths in base64; or {"ok":false,"code":"corrupt","message":"entry ..."} and exit
//  status 1.
// Usage errors: exit status 2.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <clocale>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/bytes.h"
#include "base/json.h"
#include "unpack/layer.h"
#include "unpack/sandbox.h"

using namespace limpet;
using namespace limpet::unpack;

namespace {

constexpr int input_fd = 3;
constexpr int target_fd = 4;

struct Options {
  Mode mode = Mode::layer;
  LayerLimits limits;
  SandboxLimits sandbox;
};

bool number(std::string_view argument, std::string_view name, uint64_t* out) {
  if (!argument.starts_with(name)) return false;
  argument.remove_prefix(name.size());
  const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), *out);
  return error == std::errc() && end == argument.data() + argument.size() && *out > 0;
}

bool parse(int argc, char** argv, Options* out) {
  if (argc < 2) return false;
  if (strcmp(argv[1], "archive") == 0) {
    out->mode = Mode::archive;
  } else if (strcmp(argv[1], "layer") != 0) {
    return false;
  }
  for (int i = 2; i < argc; ++i) {
    const std::string_view a = argv[i];
    if (!number(a, "--max-bytes=", &out->limits.input.max_bytes) &&
        !number(a, "--max-entries=", &out->limits.max_entries) &&
        !number(a, "--max-ratio=", &out->limits.input.max_ratio) &&
        !number(a, "--memory=", &out->sandbox.memory_bytes)) {
      return false;
    }
  }
  out->sandbox.file_bytes = out->limits.input.max_bytes;
  return true;
}

Result<LayerReport> run(const Options& options) {
  struct stat st{};
  if (fstat(target_fd, &st) != 0 || !S_ISDIR(st.st_mode)) {
    return fail(Errc::invalid_argument, "descriptor 4 is not a directory");
  }
  // Names in PAX records are UTF-8; libarchive turns them into the locale's. The files are read before the
  // bars close.
  (void)setlocale(LC_CTYPE, "C.UTF-8");
  (void)fcntl(input_fd, F_SETFD, FD_CLOEXEC);
  TRY(UniqueFd root, enter_sandbox(UniqueFd(target_fd), options.sandbox));
  return unpack_layer(input_fd, std::move(root), options.mode, options.limits);
}

void paths(json::Writer& w, std::string_view key, const std::vector<std::string>& list) {
  w.key(key).begin_array();
  for (const std::string& path : list) w.string(base64_encode(path));
  w.end_array();
}

std::string render(const Result<LayerReport>& report) {
  json::Writer w;
  w.begin_object().field("ok", report.has_value());
  if (!report) {
    w.field("code", errc_name(report.error().code)).field("message", report.error().message);
  } else {
    w.field("digest", report->digest).field("bytes", static_cast<int64_t>(report->bytes));
    w.field("entries", static_cast<int64_t>(report->entries))
        .field("files", static_cast<int64_t>(report->files));
    w.field("fileBytes", static_cast<int64_t>(report->file_bytes));
    paths(w, "implicit", report->implicit);
    paths(w, "opaque", report->opaque);
  }
  w.end_object();
  return w.take() + "\n";
}

bool write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, &options)) {
    fputs(
        "usage: limpet-unpack layer|archive [--max-bytes=N] [--max-entries=N] [--max-ratio=N] [--memory=N]\n",
        stderr);
    return 2;
  }
  const auto report = run(options);
  const bool told = write_all(render(report));
  // At once: exit handlers (a leak check, say) may want what is out of reach behind the bars.
  _exit(report && told ? 0 : 1);
}

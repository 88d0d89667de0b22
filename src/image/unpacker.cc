#include "image/unpacker.h"

#include <fcntl.h>

#include <cerrno>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "image/reference.h"

namespace limpet::image {
namespace {

constexpr size_t max_report = 8 * 1024 * 1024;

Result<std::vector<std::string>> paths(json::Ref list) {
  std::vector<std::string> out;
  for (const json::Ref item : list) {
    TRY(std::string path, base64_decode(item.str()));
    if (path.find('\0') != std::string::npos) return fail(Errc::corrupt, "a path holds a NUL");
    out.push_back(std::move(path));
  }
  return out;
}

Errc code_of(std::string_view name) {
  for (const Errc code : {Errc::invalid_argument, Errc::corrupt, Errc::too_large, Errc::unsupported,
                          Errc::exhausted, Errc::permission_denied, Errc::io}) {
    if (errc_name(code) == name) return code;
  }
  return Errc::io;
}

}  // namespace

Result<UnpackReport> parse_unpack_report(std::string_view text) {
  auto value = json::parse(text);
  if (!value || !value->ref().is_object()) return fail(Errc::io, "the unpack program gave no report");
  const json::Ref doc = *value;
  if (!doc["ok"].boolean()) {
    return fail(code_of(doc["code"].str()),
                std::string(doc["message"].str("the unpack program failed").substr(0, 1000)));
  }
  UnpackReport out;
  out.digest = doc["digest"].str();
  if (!valid_digest(out.digest)) return fail(Errc::io, "the unpack program gave no digest");
  out.bytes = static_cast<uint64_t>(doc["bytes"].integer());
  TRY(out.unpacked.implicit, paths(doc["implicit"]));
  TRY(out.unpacked.opaque, paths(doc["opaque"]));
  return out;
}

Unpacking::Unpacking(loop::Loop& loop, const UnpackOptions& options, const char* mode,
                     const std::string& file, const std::string& directory, Done done)
    : done_(std::move(done)), failed_(loop, "image.unpack") {
  if (auto started = start(loop, options, mode, file, directory); !started) {
    failed_.start(0, [this, error = std::move(started).error()] { finish(std::unexpected(error)); });
  }
}

Result<> Unpacking::start(loop::Loop& loop, const UnpackOptions& options, const char* mode,
                          const std::string& file, const std::string& directory) {
  if (LIMPET_FAILPOINT("image.layer.unpack")) return fail(Errc::io, "failpoint image.layer.unpack");
  const UniqueFd input(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!input) return fail_errno(errno, "open " + file);
  const UniqueFd target(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!target) return fail_errno(errno, "open " + directory);
  loop::ProcessOptions p;
  p.argv = {options.program, mode,
            strf("--max-bytes=%llu", static_cast<unsigned long long>(options.max_bytes)),
            strf("--max-entries=%llu", static_cast<unsigned long long>(options.max_entries)),
            strf("--memory=%llu", static_cast<unsigned long long>(options.memory_bytes))};
  p.out = loop::Stdio::collect(max_report);
  p.err = loop::Stdio::collect(4096);
  p.fds = {{3, input.get()}, {4, target.get()}};
  p.new_session = true;
  p.deadline_ms = options.deadline_ms;
  return process_.start(loop, std::move(p), [this](loop::ProcessExit exit) {
    if (exit.out.empty()) {
      return finish(
          fail(Errc::io, "limpet-unpack: " + exit.describe() + (exit.err.empty() ? "" : ": " + exit.err)));
    }
    auto report = parse_unpack_report(exit.out);
    if (report && !exit.ok()) return finish(fail(Errc::io, "limpet-unpack: " + exit.describe()));
    finish(std::move(report));
  });
}

void Unpacking::finish(Result<UnpackReport> report) {
  const Done done = std::move(done_);
  done(std::move(report));
}

}  // namespace limpet::image

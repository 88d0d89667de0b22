// limpet image ls, pull, import, rm.
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/commands.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "cli/pulls.h"

namespace limpet::cli {
namespace {

constexpr const char* images_path = "/limpet/v1/images";
constexpr size_t max_line = 1u << 20;

std::string short_id(std::string_view id) {
  const size_t colon = id.find(':');
  return std::string(id.substr(colon == std::string_view::npos ? 0 : colon + 1).substr(0, 12));
}

// An answer of JSON lines: progress of layers, then one with "ok".
class Lines {
 public:
  explicit Lines(Context& context) : context_(context), progress_(context.output) {}

  Outcome<int> run(const std::string& target, std::string body) {
    auto streamed = context_.daemon.stream("POST", target, std::move(body), [this](std::string_view bytes) {
      buffer_.append(bytes);
      size_t end = 0;
      while ((end = buffer_.find('\n')) != std::string::npos) {
        line(std::string_view(buffer_).substr(0, end));
        buffer_.erase(0, end + 1);
      }
      return buffer_.size() <= max_line;
    });
    if (!buffer_.empty()) line(buffer_);
    progress_.clear();
    if (!streamed) return std::unexpected(streamed.error());
    if (!ended_)
      return failed(exit_failed, "limpetd's answer ended too early: whether it was done is unknown");
    if (!failure_.message.empty()) return std::unexpected(failure_);
    std::string out;
    for (const std::string& name : names_) out += name + "\n";
    return print(context_, out);
  }

 private:
  void line(std::string_view text) {
    const auto parsed = json::parse(text);
    if (!parsed) return;
    const json::Ref v = parsed->ref();
    if (v["ok"].type() == json::Type::boolean) {
      ended_ = true;
      if (!v["ok"].boolean()) {
        failure_.code = v["code"].str() == "not_found" ? exit_not_found : exit_failed;
        failure_.message = printable(v["message"].str("limpetd gave no reason"));
      }
      for (json::Ref name : v["references"]) names_.push_back(printable(name.str()));
    } else if (v["layer"].is_string()) {
      progress_.layer(v["layer"].str(), v["done"].integer(), v["total"].integer(), v["phase"].str(),
                      context_.clock.monotonic_ms());
    }
  }

  Context& context_;
  Progress progress_;
  std::string buffer_;
  Failure failure_;
  std::vector<std::string> names_;
  bool ended_ = false;
};

// What is read from standard input lies here until limpetd has taken it.
class Spool {
 public:
  ~Spool() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  Outcome<std::string> fill() {
    const char* directory = getenv("TMPDIR");
    std::string path =
        std::string(directory && *directory == '/' ? directory : "/var/tmp") + "/limpet-import-XXXXXX";
    const UniqueFd fd(mkostemp(path.data(), O_CLOEXEC));
    if (!fd)
      return failed(exit_failed,
                    strf("make %s: %s; TMPDIR names another place", path.c_str(), strerror(errno)));
    path_ = path;
    std::string buffer(256 * 1024, '\0');
    for (;;) {
      const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
      if (n == 0) return path_;
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed(exit_failed, strf("read standard input: %s", strerror(errno)));
      if (!write_all(fd.get(), std::string_view(buffer).substr(0, static_cast<size_t>(n)))) {
        return failed(exit_failed,
                      strf("write %s: %s; TMPDIR names another place", path.c_str(), strerror(errno)));
      }
    }
  }

 private:
  std::string path_;
};

std::string with_reference(const std::string& path, const std::string& reference) {
  return path + "?reference=" + http::percent_encode(reference);
}

}  // namespace

Outcome<int> run_image_ls(Context& context) {
  const auto answer = context.daemon.get(images_path);
  if (!answer) return std::unexpected(answer.error());
  const json::Ref images = answer->ref().is_array() ? answer->ref() : answer->ref()["images"];
  if (!images.is_array()) {
    return failed(exit_failed, "what answers on " + context.daemon.socket_path() + " gave no list of images");
  }
  if (context.arguments.json) return print(context, images.dump() + "\n");
  const json::Ref pulls = answer->ref()["pulls"];
  for (json::Ref pull : pulls) (void)context.output.err("pulling " + printable(pull_text(pull)) + "\n");
  if (images.size() == 0 && pulls.size() > 0) return exit_done;
  if (images.size() == 0) {
    (void)context.output.err("limpet: no images on this device\n");
    return exit_done;
  }
  Table table({"IMAGE", "ID", "SIZE", "USED"});
  for (json::Ref image : images) {
    const std::string used = image["inUse"].boolean() ? "yes" : image["pinned"].boolean() ? "pinned" : "no";
    const std::string id = short_id(image["id"].str()), size = human_size(image["size"].integer());
    const json::Ref names = image["references"].size() ? image["references"] : image["repoDigests"];
    if (names.size() == 0) table.add({"<none>", id, size, used});
    for (json::Ref name : names) table.add({std::string(name.str()), id, size, used});
  }
  return print(context, table.text(context.output.width));
}

Outcome<int> run_image_pull(Context& context) {
  return Lines(context).run(
      with_reference(std::string(images_path) + "/pull", context.arguments.positional[0]), "");
}

Outcome<int> run_image_import(Context& context) {
  Spool spool;
  std::string path = context.arguments.positional[0];
  if (path == "-") {
    if (isatty(STDIN_FILENO) == 1) {
      return failed(exit_usage, "standard input is a terminal; try: limpet image import - < FILE");
    }
    auto spooled = spool.fill();
    if (!spooled) return std::unexpected(spooled.error());
    path = *spooled;
  } else {
    // limpetd has another working directory.
    char whole[PATH_MAX];
    if (!realpath(path.c_str(), whole)) {
      return failed(errno == ENOENT ? exit_not_found : exit_failed, path + ": " + strerror(errno));
    }
    path = whole;
  }
  json::Writer body;
  body.begin_object().field("path", path).end_object();
  return Lines(context).run(std::string(images_path) + "/import", body.take());
}

Outcome<int> run_image_rm(Context& context) {
  const auto removed =
      context.daemon.ask("DELETE", with_reference(images_path, context.arguments.positional[0]));
  if (!removed) return std::unexpected(removed.error());
  return exit_done;
}

}  // namespace limpet::cli

#include "node/runtime/image_config.h"

#include "base/json.h"

namespace limpet::node {
namespace {

constexpr size_t max_entries = 1024;
constexpr size_t max_env_bytes = 256 * 1024;

Result<std::vector<std::string>> strings(json::Ref list, const char* field) {
  std::vector<std::string> out;
  if (!list || list.is_null()) return out;
  if (!list.is_array()) return fail(Errc::invalid_argument, strf("image config: %s is no list", field));
  if (list.size() > max_entries) {
    return fail(Errc::invalid_argument,
                strf("image config: %s has more than %zu entries", field, max_entries));
  }
  for (json::Ref item : list) {
    if (!item.is_string())
      return fail(Errc::invalid_argument, strf("image config: %s holds no string", field));
    out.emplace_back(item.str());
  }
  return out;
}

Result<std::string> text(json::Ref value, const char* field, size_t max_size) {
  if (!value || value.is_null()) return std::string();
  if (!value.is_string()) return fail(Errc::invalid_argument, strf("image config: %s is no string", field));
  if (value.str().size() > max_size)
    return fail(Errc::invalid_argument, strf("image config: %s is too long", field));
  return std::string(value.str());
}

}  // namespace

Result<ImageConfig> parse_image_config(std::string_view bytes) {
  if (bytes.size() > 4 << 20) return fail(Errc::too_large, "image config is larger than 4 MB");
  json::Limits limits;
  limits.allow_duplicates = true;
  Result<json::Value> tree = json::parse(bytes, limits);
  if (!tree) return std::unexpected(std::move(tree).error().with("image config"));
  json::Ref config = tree->ref()["config"];
  ImageConfig image;
  TRY(image.entrypoint, strings(config["Entrypoint"], "Entrypoint"));
  TRY(image.cmd, strings(config["Cmd"], "Cmd"));
  TRY(std::vector<std::string> env, strings(config["Env"], "Env"));
  size_t env_bytes = 0;
  for (const std::string& entry : env) {
    size_t equals = entry.find('=');
    env_bytes += entry.size();
    if (env_bytes > max_env_bytes)
      return fail(Errc::invalid_argument, "image config: Env is larger than 256 KB");
    if (equals == std::string::npos || equals == 0) continue;  // a name alone says nothing
    image.env.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  TRY(image.working_dir, text(config["WorkingDir"], "WorkingDir", 4095));
  TRY(image.user, text(config["User"], "User", 256));
  TRY(image.stop_signal, text(config["StopSignal"], "StopSignal", 32));
  if (!image.working_dir.empty() && image.working_dir[0] != '/') {
    return fail(Errc::invalid_argument, "image config: WorkingDir is not absolute");
  }
  if (image.working_dir == "/proc" || image.working_dir.starts_with("/proc/")) {
    return fail(Errc::invalid_argument, "image config: WorkingDir is below /proc");
  }
  for (json::Ref volume : config["Volumes"]) {
    if (image.volumes.size() >= max_entries)
      return fail(Errc::invalid_argument, "image config: too many Volumes");
    image.volumes.emplace_back(volume.key());
  }
  return image;
}

std::vector<std::string> effective_args(const ImageConfig& image, const std::vector<std::string>& command,
                                        const std::vector<std::string>& args) {
  std::vector<std::string> result = command.empty() ? image.entrypoint : command;
  const std::vector<std::string>& rest = !args.empty() || !command.empty() ? args : image.cmd;
  result.insert(result.end(), rest.begin(), rest.end());
  return result;
}

}  // namespace limpet::node

#include "image/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "image/layer_tree.h"
#include "image/manifest.h"
#include "image/reference.h"

namespace limpet::image {
namespace {

constexpr size_t max_index_bytes = 16 * 1024 * 1024;
constexpr size_t layer_name_digits = 24;  // short, since overlayfs takes all paths in one page

Result<> sync_directory(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) return fail_errno(errno, "sync " + path);
  return {};
}

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> out;
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return out;
  while (const dirent* e = readdir(dir)) {
    const std::string_view name = e->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  closedir(dir);
  return out;
}

void render_layer(json::Writer& w, const Layer& layer) {
  w.begin_object()
      .field("chainID", layer.chain_id)
      .field("diffID", layer.diff_id)
      .field("digest", layer.digest);
  w.field("mediaType", layer.media_type).field("size", static_cast<int64_t>(layer.size)).end_object();
}

void render_strings(json::Writer& w, std::string_view key, const std::vector<std::string>& list) {
  w.key(key).begin_array();
  for (const std::string& s : list) w.string(s);
  w.end_array();
}

std::vector<std::string> strings(json::Ref list) {
  std::vector<std::string> out;
  for (const json::Ref s : list) out.emplace_back(s.str());
  return out;
}

Layer read_layer(json::Ref ref) {
  return {std::string(ref["chainID"].str()), std::string(ref["diffID"].str()),
          std::string(ref["digest"].str()), std::string(ref["mediaType"].str()),
          static_cast<uint64_t>(ref["size"].integer())};
}

Result<Image> read_image(json::Ref ref) {
  Image image;
  image.id = ref["id"].str();
  image.manifest = ref["manifest"].str();
  image.config_size = static_cast<uint64_t>(ref["configSize"].integer());
  image.references = strings(ref["references"]);
  image.repo_digests = strings(ref["repoDigests"]);
  image.pinned = ref["pinned"].boolean();
  image.archive = ref["archive"].str();
  image.last_used = ref["lastUsed"].integer();
  for (const json::Ref layer : ref["layers"]) image.layers.push_back(read_layer(layer));
  bool good = valid_digest(image.id) && !image.layers.empty() && image.layers.size() <= max_layers;
  for (const Layer& l : image.layers)
    good = good && valid_digest(l.chain_id) && valid_digest(l.diff_id) && valid_digest(l.digest);
  if (!good) return fail(Errc::corrupt, "an image of the index has no proper digests");
  return image;
}

}  // namespace

uint64_t Image::blob_bytes() const {
  uint64_t total = config_size;
  for (const Layer& layer : layers) total += layer.size;
  return total;
}

Result<> Store::open() const {
  CHECK_OK(make_directories(root_, 0700));
  for (const char* sub : {"/blobs", "/ingest", "/layers", "/tmp"})
    CHECK_OK(make_directories(root_ + sub, 0700));
  remove_temporaries(root_);
  remove_temporaries(root_ + "/blobs");
  for (const std::string& name : names_in(root_ + "/tmp")) CHECK_OK(remove_tree(temporary(name)));
  return {};
}

Result<std::vector<Image>> Store::load_index() const {
  std::vector<Image> out;
  auto text = read_file(root_ + "/index.json", max_index_bytes);
  if (!text && text.error().code == Errc::not_found) return out;
  if (!text) return std::unexpected(std::move(text).error());
  auto value = json::parse(*text);
  if (!value) return fail(Errc::corrupt, "the image index is damaged: " + value.error().message);
  if (value->ref()["version"].integer() != 1)
    return fail(Errc::unsupported, "the image index has an unknown version");
  for (const json::Ref entry : value->ref()["images"]) {
    TRY(Image image, read_image(entry));
    out.push_back(std::move(image));
  }
  return out;
}

std::string Store::render_index(const std::vector<Image>& images) {
  json::Writer w;
  w.begin_object().field("version", 1).key("images").begin_array();
  for (const Image& image : images) {
    w.begin_object().field("id", image.id).field("manifest", image.manifest);
    w.field("configSize", static_cast<int64_t>(image.config_size)).field("pinned", image.pinned);
    w.field("lastUsed", image.last_used).field("archive", image.archive);
    render_strings(w, "references", image.references);
    render_strings(w, "repoDigests", image.repo_digests);
    w.key("layers").begin_array();
    for (const Layer& layer : image.layers) render_layer(w, layer);
    w.end_array().end_object();
  }
  w.end_array().end_object();
  return w.take();
}

Result<> Store::write_index(const std::string& text) const {
  return write_file_atomic(root_ + "/index.json", text, 0600, "image.record");
}

std::string Store::blob_path(const std::string& digest) const {
  return root_ + "/blobs/" + std::string(digest_hex(digest));
}

std::string Store::partial_path(const std::string& digest) const {
  return root_ + "/ingest/" + std::string(digest_hex(digest));
}

std::string Store::layer_dir(const std::string& chain_id) const {
  return root_ + "/layers/" + std::string(digest_hex(chain_id).substr(0, layer_name_digits));
}

bool Store::has_blob(const std::string& digest, uint64_t size) const {
  struct stat st{};
  return stat(blob_path(digest).c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
         static_cast<uint64_t>(st.st_size) == size;
}

bool Store::has_layer(const Layer& layer) const {
  struct stat st{};
  if (lstat(layer_root(layer.chain_id).c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return false;
  const auto text = read_file(layer_dir(layer.chain_id) + "/layer.json", 64 * 1024);
  if (!text) return false;
  const json::Cursor note(*text);
  return note["chainID"].str_equals(layer.chain_id) && note["diffID"].str_equals(layer.diff_id);
}

bool Store::layer_intact(const Layer& layer) const {
  if (!has_layer(layer)) return false;
  const auto text = read_file(layer_dir(layer.chain_id) + "/layer.json", 64 * 1024);
  const auto count = count_tree(layer_root(layer.chain_id));
  if (!text || !count) return false;
  const json::Cursor note(*text);
  return note["files"].integer(-1) == static_cast<int64_t>(count->files) &&
         note["fileBytes"].integer(-1) == static_cast<int64_t>(count->bytes);
}

Result<std::string> Store::read_blob(const std::string& digest, size_t limit) const {
  TRY(std::string bytes, read_file(blob_path(digest), limit));
  if (sha256_hex(bytes) != digest_hex(digest)) return fail(Errc::corrupt, "blob " + digest + " is damaged");
  return bytes;
}

Result<> Store::write_blob(const std::string& digest, std::string_view bytes) const {
  return write_file_atomic(blob_path(digest), bytes, 0600, "image.blob.small");
}

Result<> Store::commit_layer(const std::string& name, const Layer& layer, const Unpacked& unpacked,
                             const std::vector<std::string>& parents) const {
  const std::string from = temporary(name), to = layer_dir(layer.chain_id);
  CHECK_OK(complete_tree(from + "/fs", unpacked.implicit, unpacked.opaque, parents));
  TRY(const TreeCount count, count_tree(from + "/fs"));
  json::Writer w;
  w.begin_object()
      .field("chainID", layer.chain_id)
      .field("diffID", layer.diff_id)
      .field("digest", layer.digest);
  w.field("files", static_cast<int64_t>(count.files)).field("fileBytes", static_cast<int64_t>(count.bytes));
  w.end_object();
  CHECK_OK(write_file_atomic(from + "/layer.json", w.text(), 0600, "image.layer.note"));
  if (LIMPET_FAILPOINT("image.layer.syncfs")) return fail(Errc::io, "failpoint image.layer.syncfs");
  UniqueFd fd(::open(from.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || syncfs(fd.get()) != 0) return fail_errno(errno, "sync layer " + layer.diff_id);
  if (LIMPET_FAILPOINT("image.layer.rename")) return fail(Errc::io, "failpoint image.layer.rename");
  // What is in the way is a damaged layer; containers that stand on it keep it until they end.
  if (rename(from.c_str(), to.c_str()) != 0) {
    if (errno != EEXIST && errno != ENOTEMPTY) return fail_errno(errno, "rename layer " + layer.diff_id);
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
      return fail_errno(errno, "replace layer " + layer.diff_id);
    }
    CHECK_OK(sync_directory(root_ + "/layers"));
    return remove_tree(from);
  }
  return sync_directory(root_ + "/layers");
}

Result<> Store::remove_layer(const std::string& chain_id) const {
  const std::string from = layer_dir(chain_id);
  const std::string to = temporary("gone-" + from.substr(from.rfind('/') + 1));
  CHECK_OK(remove_tree(to));
  if (rename(from.c_str(), to.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, "remove layer " + chain_id);
  }
  return remove_tree(to);
}

void Store::remove_unreferenced(const std::vector<Image>& images, int64_t now, int64_t max_age) const {
  std::set<std::string> blobs, layers;
  for (const Image& image : images) {
    blobs.emplace(digest_hex(image.id));
    if (valid_digest(image.manifest)) blobs.emplace(digest_hex(image.manifest));
    for (const Layer& layer : image.layers) {
      blobs.emplace(digest_hex(layer.digest));
      layers.insert(layer_dir(layer.chain_id));
    }
  }
  const auto old = [&](const std::string& path) {
    struct stat st{};
    return lstat(path.c_str(), &st) == 0 && (st.st_mtime + max_age < now || st.st_mtime > now + max_age);
  };
  for (const char* sub : {"/blobs/", "/ingest/"}) {
    for (const std::string& name : names_in(root_ + sub)) {
      const std::string path = root_ + sub + name;
      if (!blobs.contains(name) && old(path)) (void)unlink(path.c_str());
    }
  }
  for (const std::string& name : names_in(root_ + "/layers")) {
    const std::string path = root_ + "/layers/" + name;
    if (layers.contains(path) || !old(path)) continue;
    const std::string gone = temporary("gone-" + name);
    if (rename(path.c_str(), gone.c_str()) == 0) (void)remove_tree(gone);
  }
}

int disk_used_percent(const std::string& path) {
  struct statvfs s{};
  if (statvfs(path.c_str(), &s) != 0 || s.f_blocks == 0) return -1;
  const uint64_t used = s.f_blocks - s.f_bfree, usable = used + s.f_bavail;
  return usable == 0 ? 100 : static_cast<int>((used * 100 + usable - 1) / usable);
}

uint64_t disk_free_bytes(const std::string& path) {
  struct statvfs s{};
  if (statvfs(path.c_str(), &s) != 0) return 0;
  return static_cast<uint64_t>(s.f_bavail) * s.f_frsize;
}

}  // namespace limpet::image

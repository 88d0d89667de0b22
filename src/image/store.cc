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
#include "base/tree.h"
#include "base/unique_fd.h"
#include "image/layer_check.h"
#include "image/layer_tree.h"
#include "image/manifest.h"
#include "image/reference.h"

namespace limpet::image {
namespace {

constexpr size_t max_index_bytes = 16 * 1024 * 1024;
constexpr int64_t first_date_s = 1'735'689'600;  // 2025-01-01: what was written before was so by no set clock
constexpr size_t layer_name_digits = 24;         // short, since overlayfs takes all paths in one page

Result<> sync_directory(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) return fail_errno(errno, "sync " + path);
  return {};
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
  image.archives = strings(ref["archives"]);
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
  for (const char* sub : {"/blobs", "/ingest", "/layers", "/damaged", "/tmp"})
    CHECK_OK(make_directories(root_ + sub, 0700));
  remove_temporaries(root_);
  remove_temporaries(root_ + "/blobs");
  for (const std::string& name : list_directory(root_ + "/tmp")) CHECK_OK(remove_tree(temporary(name)));
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
    w.field("lastUsed", image.last_used);
    render_strings(w, "archives", image.archives);
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

bool Store::layer_intact(const Layer& layer, Check check) const {
  if (!has_layer(layer)) return false;
  if (check == Check::presence) return true;
  const auto text = read_file(layer_dir(layer.chain_id) + "/layer.json", 64 * 1024);
  const auto found = examine_tree(layer_root(layer.chain_id), check == Check::contents);
  if (!text || !found) return false;
  const json::Cursor note(*text);
  if (note["files"].integer(-1) != static_cast<int64_t>(found->files)) return false;
  if (note["fileBytes"].integer(-1) != static_cast<int64_t>(found->bytes)) return false;
  if (!note["attributes"].str_equals(found->attributes)) return false;
  return check != Check::contents || note["contents"].str_equals(found->contents);
}

bool Store::blob_intact(const std::string& digest) const {
  const std::string path = blob_path(digest);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return false;
  Sha256 hash;
  std::string buffer(128 * 1024, '\0');
  while (true) {
    const ssize_t n = read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n == 0 && hash.finish_hex() == digest_hex(digest)) return true;
    if (n <= 0) break;
    hash.update({buffer.data(), static_cast<size_t>(n)});
  }
  (void)unlink(path.c_str());
  return false;
}

Result<std::string> Store::read_blob(const std::string& digest, size_t limit) const {
  TRY(std::string bytes, read_file(blob_path(digest), limit));
  if (sha256_hex(bytes) != digest_hex(digest)) return fail(Errc::corrupt, "blob " + digest + " is damaged");
  return bytes;
}

Result<> Store::sync_blobs() const { return sync_directory(root_ + "/blobs"); }

Result<> Store::write_blob(const std::string& digest, std::string_view bytes) const {
  return write_file_atomic(blob_path(digest), bytes, 0600, "image.blob.small");
}

Result<> Store::commit_layer(const std::string& name, const Layer& layer, const Unpacked& unpacked,
                             const std::vector<std::string>& parents) const {
  const std::string from = temporary(name), to = layer_dir(layer.chain_id);
  CHECK_OK(complete_tree(from + "/fs", unpacked.implicit, unpacked.opaque, parents));
  TRY(const TreeEvidence evidence, examine_tree(from + "/fs", true));
  json::Writer w;
  w.begin_object()
      .field("chainID", layer.chain_id)
      .field("diffID", layer.diff_id)
      .field("digest", layer.digest);
  w.field("files", static_cast<int64_t>(evidence.files))
      .field("fileBytes", static_cast<int64_t>(evidence.bytes));
  w.field("attributes", evidence.attributes).field("contents", evidence.contents).end_object();
  CHECK_OK(write_file_atomic(from + "/layer.json", w.text(), 0600, "image.layer.note"));
  if (LIMPET_FAILPOINT("image.layer.syncfs")) return fail(Errc::io, "failpoint image.layer.syncfs");
  UniqueFd fd(::open(from.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || syncfs(fd.get()) != 0) return fail_errno(errno, "sync layer " + layer.diff_id);
  if (LIMPET_FAILPOINT("image.layer.rename")) return fail(Errc::io, "failpoint image.layer.rename");
  // What is in the way is a damaged layer.
  if (rename(from.c_str(), to.c_str()) != 0) {
    if (errno != EEXIST && errno != ENOTEMPTY) return fail_errno(errno, "rename layer " + layer.diff_id);
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
      return fail_errno(errno, "replace layer " + layer.diff_id);
    }
    CHECK_OK(keep_damaged(from, to));
  }
  return sync_directory(root_ + "/layers");
}

// A container may stand on it; take_out knows when none does.
Result<> Store::keep_damaged(const std::string& from, const std::string& layer) const {
  const std::string name = root_ + "/damaged/" + layer.substr(layer.rfind('/') + 1) + ".";
  for (int i = 0; i < 1000; ++i) {
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, (name + std::to_string(i)).c_str(), RENAME_NOREPLACE) ==
        0)
      return {};
    if (errno == ENOENT) return {};
    if (errno != EEXIST) return fail_errno(errno, "set aside " + layer);
  }
  return fail(Errc::exhausted, layer + " was damaged too often");
}

Result<> Store::set_aside(const std::string& chain_id) const {
  const std::string layer = layer_dir(chain_id);
  CHECK_OK(keep_damaged(layer, layer));
  return sync_directory(root_ + "/layers");
}

namespace {

// The names below blobs/ and the directories below layers/ that images have.
struct Names {
  std::set<std::string> blobs, layers;
  Names(const Store& store, const std::vector<Image>& images) {
    for (const Image& image : images) {
      blobs.emplace(digest_hex(image.id));
      if (valid_digest(image.manifest)) blobs.emplace(digest_hex(image.manifest));
      for (const Layer& layer : image.layers) {
        blobs.emplace(digest_hex(layer.digest));
        layers.insert(store.layer_dir(layer.chain_id));
      }
    }
  }
};

// Which of the names in two folders go: those that are condemned, and those that were left over too long.
class Sorter {
 public:
  Sorter(const Store::Unneeded& what, Store::Leftovers& known) : what_(what), known_(known) {}
  ~Sorter() { known_ = std::move(left_); }

  bool goes(const std::string& path, bool needed, bool condemned, bool asked) {
    if (needed) return false;
    if (condemned) return true;
    const auto seen = known_.find(path);
    const int64_t since = asked                  ? what_.now_ms
                          : seen == known_.end() ? what_.now_ms - credit_ms(path)
                                                 : seen->second;
    if (what_.now_ms - since >= what_.max_age_ms) return true;
    left_.emplace(path, since);
    return false;
  }

 private:
  int64_t credit_ms(const std::string& path) const {
    struct stat st{};
    if (lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return 0;
    const int64_t written_s = st.st_mtim.tv_sec;
    if (written_s < first_date_s || written_s > what_.wall_s) return 0;
    return std::min((what_.wall_s - written_s) * 1000, what_.max_credit_ms);
  }

  const Store::Unneeded& what_;
  Store::Leftovers& known_;
  Store::Leftovers left_;
};

}  // namespace

std::vector<std::string> Store::take_out(const Unneeded& what, Leftovers& known) const {
  const Names needed(*this, what.needed), condemned(*this, what.condemned), asked(*this, what.asked);
  Sorter sorter(what, known);
  for (const char* sub : {"/blobs/", "/ingest/"}) {
    for (const std::string& file : list_directory(root_ + sub)) {
      const std::string path = root_ + sub + file;
      const std::string name = file.substr(0, file.find('.'));
      if (sorter.goes(path, needed.blobs.contains(name), condemned.blobs.contains(name),
                      asked.blobs.contains(name)))
        (void)unlink(path.c_str());
    }
  }
  std::vector<std::string> gone;
  const auto take = [&](const std::string& path) {
    const std::string name = path.substr(path.rfind('/') + 1);
    for (int i = 0; i < 1000; ++i) {
      const std::string to = temporary("gone-" + name + "-" + std::to_string(i));
      if (renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) {
        gone.push_back(to);
        return;
      }
      if (errno != EEXIST) return;
    }
  };
  for (const std::string& name : list_directory(root_ + "/layers")) {
    const std::string path = root_ + "/layers/" + name;
    if (!sorter.goes(path, needed.layers.contains(path), condemned.layers.contains(path),
                     asked.layers.contains(path)))
      continue;
    if (LIMPET_FAILPOINT("image.layer.remove")) return gone;
    take(path);
  }
  if (!what.running) return gone;
  const Names running(*this, *what.running);
  for (const std::string& name : list_directory(root_ + "/damaged")) {
    if (!running.layers.contains(root_ + "/layers/" + name.substr(0, name.find('.'))))
      take(root_ + "/damaged/" + name);
  }
  return gone;
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

#include "image/import.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <set>

#include "base/json.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "image/reference.h"

namespace limpet::image {
namespace {

constexpr size_t max_images = 256;

class Archive {
 public:
  Archive(const Store& store, const std::string& directory, const Platform& host)
      : store_(store),
        directory_(directory),
        host_(host),
        root_(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

  Result<std::vector<ArchivedImage>> take() {
    if (!root_) return fail_errno(errno, "open " + directory_);
    // docker save of today writes both; the layout is the richer one, but only if it has names.
    auto layout = document("index.json", max_manifest_bytes);
    auto docker = document("manifest.json", max_manifest_bytes);
    if (docker) {
      CHECK_OK(take_docker(*docker));
    } else if (docker.error().code != Errc::not_found) {
      return std::unexpected(std::move(docker).error());
    } else if (layout) {
      CHECK_OK(take_index(*layout, "", 0));
    } else if (layout.error().code != Errc::not_found) {
      return std::unexpected(std::move(layout).error());
    } else if (document("repositories", max_manifest_bytes)) {
      return fail(
          Errc::unsupported,
          "an archive of Docker before 1.10: it has a file \"repositories\" and no manifest.json; load "
          "it into a newer Docker and write it again with docker save");
    } else {
      return fail(Errc::invalid_argument, "no image archive: neither index.json nor manifest.json is in it");
    }
    if (images_.empty()) return fail(Errc::not_found, "no image for this device is in the archive");
    CHECK_OK(store_.sync_blobs());
    return std::move(images_);
  }

 private:
  // A file of the archive; links inside are followed, but never out of it.
  Result<UniqueFd> file(const std::string& path) {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    UniqueFd fd(static_cast<int>(syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof how)));
    struct stat st{};
    if (!fd && errno == EXDEV) return fail(Errc::invalid_argument, path + " leads out of the archive");
    if (!fd && errno == ENOENT) return fail(Errc::not_found, path + " is not in the archive");
    if (!fd || fstat(fd.get(), &st) != 0) return fail_errno(errno, "open " + path);
    if (!S_ISREG(st.st_mode)) return fail(Errc::invalid_argument, path + " is not a file");
    return fd;
  }

  Result<std::string> document(const std::string& path, size_t limit) {
    TRY(const UniqueFd fd, file(path));
    std::string out;
    char buffer[16 * 1024];
    while (true) {
      const ssize_t n = read(fd.get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno, "read " + path);
      if (n == 0) return out;
      out.append(buffer, static_cast<size_t>(n));
      if (out.size() > limit) return fail(Errc::too_large, path + " is too large");
    }
  }

  static std::string blob_name(const std::string& digest) {
    return "blobs/sha256/" + std::string(digest_hex(digest));
  }

  Result<std::string> blob(const std::string& digest, size_t limit) {
    TRY(std::string bytes, document(blob_name(digest), limit));
    if (sha256_hex(bytes) != digest_hex(digest)) return fail(Errc::corrupt, "blob " + digest + " is damaged");
    return bytes;
  }

  // The digest that a file's name says it has: blobs/sha256/HEX, or HEX.json of a configuration; else empty.
  static std::string digest_in(std::string_view path) {
    if (path.ends_with(".json")) path.remove_suffix(5);
    if (const size_t slash = path.rfind('/'); slash != path.npos) {
      if (path.substr(0, slash) != "blobs/sha256") return "";
      path.remove_prefix(slash + 1);
    }
    std::string digest = "sha256:" + std::string(path);
    return valid_digest(digest) ? digest : "";
  }

  struct Taken {
    std::string digest;
    uint64_t size = 0;
  };
  // A file becomes a blob, under the digest it has; `wanted`, if any, is the one it must have. Not copied:
  // the archive may be larger than what is free.
  Result<Taken> take_file(const std::string& path, const std::string& wanted) {
    TRY(const UniqueFd in, file(path));
    Sha256 hash;
    Taken taken;
    std::string buffer(128 * 1024, '\0');
    while (true) {
      const ssize_t n = read(in.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno, "read " + path);
      if (n == 0) break;
      const std::string_view piece(buffer.data(), static_cast<size_t>(n));
      hash.update(piece);
      taken.size += piece.size();
    }
    taken.digest = "sha256:" + hash.finish_hex();
    if (!wanted.empty() && taken.digest != wanted)
      return fail(Errc::corrupt, path + " does not match its digest");
    if (fsync(in.get()) != 0) return fail_errno(errno, "sync " + path);
    const std::string temporary = directory_ + ".blob";
    const std::string self = strf("/proc/self/fd/%d", in.get());
    (void)unlink(temporary.c_str());
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary.c_str(), AT_SYMLINK_FOLLOW) != 0)
      return fail_errno(errno, "link blob");
    if (rename(temporary.c_str(), store_.blob_path(taken.digest).c_str()) != 0)
      return fail_errno(errno, "rename blob");
    (void)unlink(temporary.c_str());  // rename leaves it where both are the same file already
    return taken;
  }

  // name: what the entry of an outer index called it.
  Result<> take_index(const std::string& bytes, const std::string& name, int depth) {
    if (depth > 3) return fail(Errc::invalid_argument, "indexes are nested too deep");
    TRY(const json::Value value, json::parse(bytes, {.allow_duplicates = true}));
    const json::Ref manifests = value.ref()["manifests"];
    TRY(const std::vector<Descriptor> entries, parse_index(bytes));
    for (size_t i = 0; i < entries.size(); ++i) {
      const json::Ref notes = manifests.at(i)["annotations"];
      std::string called(
          notes["io.containerd.image.name"].str(notes["org.opencontainers.image.ref.name"].str(name)));
      if (notes["vnd.docker.reference.type"].str() == "attestation-manifest") continue;
      const Platform& p = entries[i].platform;
      if (!p.architecture.empty() && platform_score(host_, p) == 0) continue;
      TRY(const std::string document_bytes, blob(entries[i].digest, max_manifest_bytes));
      TRY(const DocumentKind kind, document_kind(document_bytes, entries[i].media_type));
      if (kind == DocumentKind::index) {
        CHECK_OK(take_index(document_bytes, called, depth + 1));
      } else {
        CHECK_OK(take_manifest(document_bytes, entries[i].digest, called));
      }
    }
    return {};
  }

  Result<> take_manifest(const std::string& bytes, const std::string& digest, const std::string& name) {
    TRY(const Manifest manifest, parse_manifest(bytes));
    TRY(const std::string config_bytes, blob(manifest.config.digest, max_config_bytes));
    auto config = parse_config(config_bytes, manifest.layers.size(), host_);
    if (!config && config.error().code == Errc::not_found) return {};  // for another device
    if (!config) return std::unexpected(std::move(config).error());
    Image image;
    image.id = manifest.config.digest;
    image.manifest = digest;
    image.config_size = config_bytes.size();
    CHECK_OK(store_.write_blob(digest, bytes));
    CHECK_OK(store_.write_blob(image.id, config_bytes));
    const std::vector<std::string> chains = chain_ids(config->diff_ids);
    std::vector<bool> intact;
    std::vector<std::string> files;
    for (size_t i = 0; i < chains.size(); ++i) {
      const Descriptor& d = manifest.layers[i];
      image.layers.push_back({chains[i], config->diff_ids[i], d.digest, d.media_type, d.size});
      intact.push_back(store_.layer_intact(image.layers.back(), Check::contents));
      files.push_back(blob_name(d.digest));
      if (!intact.back()) CHECK_OK(take_layer(image.layers.back(), blob_name(d.digest)));
    }
    if (auto reference = parse_reference(name)) {
      image.references = {reference->text()};
      image.repo_digests = {reference->name() + "@" + digest};
    }
    return add(std::move(image), std::move(intact), std::move(files));
  }

  // Not again what is here already.
  Result<> take_layer(const Layer& layer, const std::string& path) {
    if (store_.has_blob(layer.digest, layer.size) && store_.blob_intact(layer.digest)) return {};
    TRY(const Taken taken, take_file(path, layer.digest));
    if (taken.size != layer.size)
      return fail(Errc::corrupt, path + " has another size than its manifest says");
    return {};
  }

  Result<> take_docker(const std::string& bytes) {
    TRY(const json::Value value, json::parse(bytes, {.allow_duplicates = true}));
    if (!value.ref().is_array()) return fail(Errc::corrupt, "bad manifest.json: not a list of images");
    for (const json::Ref entry : value.ref()) CHECK_OK(take_docker_image(entry));
    return {};
  }

  Result<> take_docker_image(json::Ref entry) {
    const std::string config_path(entry["Config"].str());
    TRY(const std::string config_bytes, document(config_path, max_config_bytes));
    const std::string digest = "sha256:" + sha256_hex(config_bytes), named = digest_in(config_path);
    if (!named.empty() && digest != named)
      return fail(Errc::corrupt, config_path + " does not match its digest");
    const json::Ref layers = entry["Layers"];
    if (layers.size() > max_layers) return fail(Errc::too_large, "the image has more than 128 layers");
    auto config = parse_config(config_bytes, layers.size(), host_);
    if (!config && config.error().code == Errc::not_found) return {};
    if (!config) return std::unexpected(std::move(config).error().with(config_path));
    Image image;
    image.id = digest;
    image.config_size = config_bytes.size();
    CHECK_OK(store_.write_blob(image.id, config_bytes));
    const std::vector<std::string> chains = chain_ids(config->diff_ids);
    std::vector<bool> intact;
    std::vector<std::string> files;
    for (size_t i = 0; i < chains.size(); ++i) {
      files.emplace_back(layers.at(i).str());
      TRY(const Taken taken, take_file(files.back(), digest_in(files.back())));
      image.layers.push_back({chains[i], config->diff_ids[i], taken.digest,
                              "application/vnd.oci.image.layer.v1.tar", taken.size});
      intact.push_back(store_.layer_intact(image.layers.back(), Check::contents));
    }
    for (const json::Ref tag : entry["RepoTags"]) {
      if (auto reference = parse_reference(tag.str())) image.references.push_back(reference->text());
    }
    return add(std::move(image), std::move(intact), std::move(files));
  }

  Result<> add(Image image, std::vector<bool> intact, std::vector<std::string> files) {
    if (image.layers.empty()) return fail(Errc::corrupt, "an image without layers");
    if (images_.size() == max_images) return fail(Errc::too_large, "more than 256 images in the archive");
    images_.push_back({std::move(image), std::move(intact), std::move(files)});
    return {};
  }

  const Store& store_;
  const std::string directory_;
  const Platform host_;
  UniqueFd root_;
  std::vector<ArchivedImage> images_;
};

}  // namespace

Result<std::vector<ArchivedImage>> take_archive(const Store& store, const std::string& directory,
                                                const Platform& host) {
  return Archive(store, directory, host).take();
}

}  // namespace limpet::image

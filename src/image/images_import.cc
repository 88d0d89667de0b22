// Importing archives into the store, and those of the device at start.
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "image/images_impl.h"
#include "image/import.h"

namespace limpet::image {
namespace {

std::string archive_note(const std::string& path) {
  struct stat st{};
  if (stat(path.c_str(), &st) != 0) return path;
  return strf("%s %lld %lld.%09ld", path.c_str(), static_cast<long long>(st.st_size),
              static_cast<long long>(st.st_mtim.tv_sec), st.st_mtim.tv_nsec);
}

bool is_archive(std::string_view name) {
  if (name.starts_with('.')) return false;
  return name.ends_with(".tar") || name.ends_with(".tar.gz") || name.ends_with(".tgz") ||
         name.ends_with(".tar.zst");
}

}  // namespace

// Unpack, take over, make layers, record: one image after the other.
class Import final : public Operation {
 public:
  using Done = std::function<void(Result<std::vector<std::string>>)>;

  Import(ImageStore& owner, std::string path, bool pinned, Done done)
      : owner_(owner), path_(std::move(path)), pinned_(pinned), done_(std::move(done)) {
    ++owner_.imports_;
    directory_ = owner_.store_.temporary("archive-" + std::to_string(owner_.next_id_++));
    auto result = std::make_shared<Result<>>();
    work_.start(
        owner_.loop_, [result, directory = directory_] { *result = make_directories(directory, 0700); },
        [this, result] {
          if (!*result) return finish(std::unexpected(std::move(*result).error()));
          unpack();
        });
  }

  ~Import() override {
    --owner_.imports_;
    layers_.clear();
    unpacking_.reset();
    owner_.jobs_.discard(directory_);
    owner_.jobs_.discard(directory_ + ".blob");
  }

 private:
  void unpack() {
    unpacking_ = std::make_unique<Unpacking>(owner_.loop_, owner_.options_.unpack, "archive", path_,
                                             directory_, [this](Result<UnpackReport> report) {
                                               unpacking_.reset();
                                               if (!report)
                                                 return finish(std::unexpected(std::move(report).error()));
                                               take();
                                             });
  }

  void take() {
    auto result = std::make_shared<Result<std::vector<Image>>>();
    work_.start(
        owner_.loop_,
        [result, store = owner_.store_, directory = directory_, host = owner_.platform_] {
          *result = take_archive(store, directory, host);
        },
        [this, result] {
          if (!*result) return finish(std::unexpected(std::move(*result).error()));
          images_ = std::move(**result);
          next_image();
        });
  }

  void next_image() {
    layers_.clear();
    if (at_ == images_.size()) return finish(std::move(names_));
    missing_ = 1;  // so that it does not reach zero while they are being asked for
    for (LayerRequest& r : layer_requests(images_[at_], {})) {
      if (owner_.store_.has_layer(r.layer)) continue;
      // What nobody can be asked for again is kept, unless the archive itself stays.
      r.keep_blob = !pinned_;
      ++missing_;
      layers_.push_back(
          owner_.jobs_.make(std::move(r), [this](Result<> result) { layer_done(std::move(result)); }));
    }
    layer_done({});
  }

  void layer_done(Result<> result) {
    if (!result) return finish(std::unexpected(std::move(result).error()));
    if (--missing_ > 0) return;
    Image& image = images_[at_++];
    image.pinned = pinned_;
    if (pinned_) image.archive = archive_note(path_);
    names_.insert(names_.end(), image.references.begin(), image.references.end());
    if (image.references.empty()) names_.push_back(image.id);
    owner_.record(std::move(image), [this, alive = std::weak_ptr<bool>(alive_)](Result<> recorded) {
      if (alive.expired()) return;
      if (!recorded) return finish(std::unexpected(std::move(recorded).error()));
      next_image();
    });
  }

  void finish(Result<std::vector<std::string>> result) {
    layers_.clear();
    const Done done = std::move(done_);
    if (!result) return done(std::unexpected(std::move(result).error().with("import " + path_)));
    done(std::move(result));
  }

  ImageStore& owner_;
  std::string path_, directory_;
  bool pinned_;
  Done done_;
  loop::Work work_;
  std::unique_ptr<Unpacking> unpacking_;
  std::vector<Image> images_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<Operation>> layers_;
  size_t at_ = 0, missing_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::unique_ptr<Operation> ImageStore::import(const std::string& path, bool pinned, Import::Done done) {
  return std::make_unique<Import>(*this, path, pinned, std::move(done));
}

void ImageStore::import_archives(std::function<void(const std::string&, Result<>)> told) {
  auto archives = std::make_shared<std::vector<std::string>>();
  if (DIR* dir = options_.archives_dir.empty() ? nullptr : opendir(options_.archives_dir.c_str())) {
    while (const dirent* e = readdir(dir)) {
      if (is_archive(e->d_name)) archives->push_back(options_.archives_dir + "/" + e->d_name);
    }
    closedir(dir);
  }
  std::sort(archives->rbegin(), archives->rend());
  import_next(archives, std::move(told));
}

void ImageStore::import_next(std::shared_ptr<std::vector<std::string>> archives,
                             std::function<void(const std::string&, Result<>)> told) {
  const auto known = [this](const std::string& path) {
    const std::string note = archive_note(path);
    return std::any_of(images_.begin(), images_.end(),
                       [&](const Image& i) { return i.archive == note && is_complete(i); });
  };
  while (!archives->empty() && known(archives->back())) archives->pop_back();
  if (archives->empty()) {
    archive_import_.reset();
    return told("", {});
  }
  const std::string path = archives->back();
  archives->pop_back();
  archive_import_ = import(path, true, [this, path, archives, told](Result<std::vector<std::string>> names) {
    told(path, names ? Result<>() : std::unexpected(std::move(names).error()));
    import_next(archives, told);
  });
}

}  // namespace limpet::image

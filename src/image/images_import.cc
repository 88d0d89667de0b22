// Importing archives into the store, and those of the device at start.
#include <sys/stat.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/tree.h"
#include "image/images_impl.h"
#include "image/import.h"

namespace limpet::image {

std::string archive_note(const std::string& path) {
  struct stat st{};
  if (stat(path.c_str(), &st) != 0) return path;
  return strf("%s %lld %lld.%09ld", path.c_str(), static_cast<long long>(st.st_size),
              static_cast<long long>(st.st_mtim.tv_sec), st.st_mtim.tv_nsec);
}

std::string archive_path(const std::string& note) {
  const size_t time = note.rfind(' ');
  const size_t size = time == std::string::npos ? time : note.rfind(' ', time - 1);
  return note.substr(0, size);
}

namespace {

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
    layers_.clear();
    unpacking_.reset();
    owner_.jobs_.discard(directory_);
    owner_.jobs_.discard(directory_ + ".blob");
  }

 private:
  void unpack() {
    const UnpackOptions options = owner_.jobs_.unpack_options();
    unpacking_ = std::make_unique<Unpacking>(
        owner_.loop_, options, "archive", path_, directory_,
        [this, max_bytes = options.max_bytes](Result<UnpackReport> report) {
          unpacking_.reset();
          if (!report) {
            return finish(std::unexpected(owner_.jobs_.unpack_error(std::move(report).error(), max_bytes)));
          }
          holds_.push_back(owner_.holds_.take_everything([this] { take(); }));
        });
  }

  void take() {
    auto result = std::make_shared<Result<std::vector<ArchivedImage>>>();
    work_.start(
        owner_.loop_,
        [result, store = owner_.store_, directory = directory_, host = owner_.platform_] {
          *result = take_archive(store, directory, host);
        },
        [this, result] {
          if (!*result) return finish(std::unexpected(std::move(*result).error()));
          images_ = std::move(**result);
          // Now that it is known, no more than that is held. The store holds still: nothing to wait for.
          for (const ArchivedImage& i : images_) holds_.push_back(owner_.holds_.take(i.image, {}));
          holds_.erase(holds_.begin());
          next_image();
        });
  }

  void next_image() {
    layers_.clear();
    if (at_ == images_.size()) return finish(std::move(names_));
    missing_ = 1;  // so that it does not reach zero while they are being asked for
    std::vector<LayerRequest> requests = layer_requests(images_[at_].image, {});
    for (size_t i = 0; i < requests.size(); ++i) {
      if (images_[at_].intact[i]) continue;
      LayerRequest& r = requests[i];
      // What nobody can be asked for again is kept, unless the archive itself stays.
      r.keep_blob = !pinned_;
      r.again = true;
      ++missing_;
      layers_.push_back(owner_.jobs_.make(std::move(r), [this, i](Result<> result) {
        if (!result) result = std::unexpected(std::move(result).error().with(images_[at_].files[i]));
        layer_done(std::move(result));
      }));
    }
    layer_done({});
  }

  void layer_done(Result<> result) {
    if (!result) return finish(std::unexpected(std::move(result).error()));
    if (--missing_ > 0) return;
    Image& image = images_[at_++].image;
    image.pinned = pinned_;
    if (pinned_) image.archives = {archive_note(path_)};
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
  std::vector<ArchivedImage> images_;
  std::vector<Holds::HoldPtr> holds_;
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
  if (!options_.archives_dir.empty()) {
    for (const std::string& name : list_directory(options_.archives_dir)) {
      if (is_archive(name)) archives->push_back(options_.archives_dir + "/" + name);
    }
  }
  std::sort(archives->rbegin(), archives->rend());
  import_next(archives, std::move(told));
}

void ImageStore::import_next(std::shared_ptr<std::vector<std::string>> archives,
                             std::function<void(const std::string&, Result<>)> told) {
  const auto known = [this](const std::string& path) {
    const std::string note = archive_note(path);
    return std::any_of(images_.begin(), images_.end(), [&](const Image& i) {
      return std::find(i.archives.begin(), i.archives.end(), note) != i.archives.end() && is_complete(i);
    });
  };
  while (!archives->empty() && known(archives->back())) archives->pop_back();
  if (archives->empty()) {
    archive_import_.reset();
    let_go_of_archives();
    return told("", {});
  }
  const std::string path = archives->back();
  archives->pop_back();
  archive_import_ = import(path, true, [this, path, archives, told](Result<std::vector<std::string>> names) {
    told(path, names ? Result<>() : std::unexpected(std::move(names).error()));
    import_next(archives, told);
  });
}

// An image stays pinned while an archive names it that is as it was then; or that was replaced by one which
// cannot be imported: better the old image than none.
void ImageStore::let_go_of_archives() {
  const auto stands = [this](const std::string& note) {
    const std::string path = archive_path(note);
    if (options_.archives_dir.empty() || !path.starts_with(options_.archives_dir + "/"))
      return true;  // by hand
    const std::string now = archive_note(path);
    if (now == note) return true;
    if (now == path) return false;  // there is no such file
    return std::none_of(images_.begin(), images_.end(), [&](const Image& i) {
      return std::find(i.archives.begin(), i.archives.end(), now) != i.archives.end();
    });
  };
  // Judged before anything changes: the answer depends on what all images say.
  std::set<std::string> fallen;
  for (const Image& image : images_) {
    for (const std::string& note : image.archives) {
      if (!stands(note)) fallen.insert(note);
    }
  }
  if (fallen.empty()) return;
  for (Image& image : images_) {
    if (image.archives.empty()) continue;
    std::erase_if(image.archives, [&](const std::string& note) { return fallen.contains(note); });
    image.pinned = image.pinned && !image.archives.empty();
  }
  save({});
}

}  // namespace limpet::image

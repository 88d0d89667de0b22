// Repairing images.
#include <algorithm>

#include "image/images_impl.h"

namespace limpet::image {

// Looks which layers are damaged, then makes those again.
class ImageStore::RepairOperation final : public Operation {
 public:
  RepairOperation(ImageStore& owner, Image image, std::function<void(Result<>)> done)
      : owner_(owner), image_(std::move(image)), done_(std::move(done)) {
    hold_ = owner_.holds_.take(image_, [this] { look(); });
  }

 private:
  void look() {
    intact_ = std::make_shared<std::vector<bool>>();
    work_.start(
        owner_.loop_,
        [intact = intact_, store = owner_.store_, layers = image_.layers] {
          for (const Layer& layer : layers) intact->push_back(store.layer_intact(layer, Check::contents));
        },
        [this] { looked(); });
  }

  void looked() {
    if (std::find(intact_->begin(), intact_->end(), false) == intact_->end()) return finish({});
    std::vector<SessionPtr> sessions;
    if (!image_.repo_digests.empty()) {
      if (auto reference = parse_reference(image_.repo_digests.front()))
        sessions = owner_.transport_.sessions(*reference, {});
    }
    std::vector<LayerRequest> requests = layer_requests(image_, sessions);
    for (size_t i = 0; i < requests.size(); ++i) missing_ += (*intact_)[i] ? 0 : 1;
    for (size_t i = 0; i < requests.size(); ++i) {
      if ((*intact_)[i]) continue;
      requests[i].again = true;
      layers_.push_back(owner_.jobs_.make(std::move(requests[i]),
                                          [this](Result<> result) { layer_done(std::move(result)); }));
    }
  }

  void layer_done(Result<> result) {
    if (result && --missing_ > 0) return;
    layers_.clear();
    if (result) return finish({});
    if (!image_.archives.empty() && !imported_) return from_archive(std::move(result).error());
    const Errc code = result.error().code;
    if (code == Errc::unauthenticated || code == Errc::permission_denied)
      return set_aside(std::move(result).error());
    finish(std::move(result));
  }

  void from_archive(Error first) {
    imported_ = true;
    const std::string path = archive_path(image_.archives.back());
    archive_ =
        owner_.import(path, image_.pinned, [this, first](const Result<std::vector<std::string>>& names) {
          if (names) return finish({});
          finish(std::unexpected(Error(first).with(names.error().message)));
        });
  }

  void set_aside(Error error) {
    work_.start(
        owner_.loop_,
        [store = owner_.store_, layers = image_.layers, intact = intact_] {
          for (size_t i = 0; i < layers.size(); ++i) {
            if (!(*intact)[i]) (void)store.set_aside(layers[i].chain_id);
          }
        },
        [this, error] {
          finish(std::unexpected(Error(error).with("a damaged layer was taken away, to be pulled anew")));
        });
  }

  void finish(Result<> result) {
    hold_.reset();
    owner_.drop({}, leftover_age_ms, {});  // what was damaged, where nobody stands on it
    const auto done = std::move(done_);
    done(std::move(result));
  }

  ImageStore& owner_;
  Image image_;
  std::function<void(Result<>)> done_;
  Holds::HoldPtr hold_;
  std::shared_ptr<std::vector<bool>> intact_;
  loop::Work work_;
  std::vector<std::unique_ptr<Operation>> layers_;
  std::unique_ptr<Operation> archive_;
  size_t missing_ = 0;
  bool imported_ = false;
};

std::unique_ptr<Operation> ImageStore::repair(const std::string& image_id,
                                              std::function<void(Result<>)> done) {
  const Image* image = find_image(image_id);
  if (image == nullptr) {
    return std::make_unique<Later<Result<>>>(loop_, std::move(done),
                                             fail(Errc::not_found, "image " + image_id + " is not here"));
  }
  return std::make_unique<RepairOperation>(*this, *image, std::move(done));
}

}  // namespace limpet::image

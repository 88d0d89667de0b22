// Removing, collecting and repairing images.
#include <algorithm>

#include "image/images_impl.h"

namespace limpet::image {
namespace {

constexpr int64_t pressed_age_seconds = 600;  // leftovers older than this go when the disk is full

}  // namespace

void ImageStore::configure_collection(int high_percent, int low_percent) {
  options_.gc_high_percent = high_percent;
  options_.gc_low_percent = low_percent;
}

// Layers that only a removed image had go too: they are young, so age is no protection here. Unfinished pulls
// are spared.
void ImageStore::drop_unreferenced(int64_t max_age_seconds, std::function<void()> done) {
  if (collect_work_.busy() || jobs_.busy() || !pulls_.empty() || imports_ > 0) {
    if (done) done();
    return;
  }
  collect_work_.start(
      loop_,
      [store = store_, images = images_, now = clock_.wall().seconds, max_age_seconds] {
        store.remove_unreferenced(images, now, max_age_seconds);
      },
      [done = std::move(done)] {
        if (done) done();
      });
}

// The least recently used image that nothing holds; false when there is none.
bool ImageStore::collect_one() {
  const Image* oldest = nullptr;
  for (const Image& image : images_) {
    if (image.pinned || in_use_.contains(image.id)) continue;
    if (oldest == nullptr || image.last_used < oldest->last_used) oldest = &image;
  }
  if (oldest == nullptr) return false;
  const std::string id = oldest->id;
  std::erase_if(images_, [&](const Image& image) { return image.id == id; });
  save([this](Result<> saved) {
    if (saved) drop_unreferenced(0, [this] { collect(); });
  });
  return true;
}

void ImageStore::collect() {
  if (!pulls_.empty() || imports_ > 0 || jobs_.busy() || saving_ || collect_work_.busy()) return;
  const int used = disk_used_percent(store_.root());
  if (used > options_.gc_high_percent) collecting_ = true;
  if (used <= options_.gc_low_percent) collecting_ = false;
  if (!collecting_) return;
  if (collect_one()) return;
  collecting_ = false;
  drop_unreferenced(pressed_age_seconds, {});
}

class ImageStore::RemoveOperation final : public Operation {
 public:
  explicit RemoveOperation(std::function<void(Result<>)> f)
      : done(std::make_shared<std::function<void(Result<>)>>(std::move(f))) {}
  ~RemoveOperation() override { *done = {}; }
  std::shared_ptr<std::function<void(Result<>)>> done;
};

std::unique_ptr<Operation> ImageStore::remove(const std::string& reference,
                                              std::function<void(Result<>)> done) {
  using Failed = Later<Result<>>;
  Image* image = find_image(reference);
  if (image == nullptr) {
    return std::make_unique<Failed>(loop_, std::move(done),
                                    fail(Errc::not_found, "image \"" + reference + "\" is not here"));
  }
  std::string name;
  if (auto parsed = parse_reference(reference); parsed && !valid_digest(reference) && parsed->digest.empty())
    name = parsed->text();
  const bool last = name.empty() || image->references.size() <= 1;
  if (last && in_use_.contains(image->id)) {
    return std::make_unique<Failed>(loop_, std::move(done),
                                    fail(Errc::conflict, "image \"" + reference + "\" is used by a pod"));
  }
  if (last) {
    const std::string id = image->id;
    std::erase_if(images_, [&](const Image& i) { return i.id == id; });
  } else {
    std::erase(image->references, name);
  }
  auto operation = std::make_unique<RemoveOperation>(std::move(done));
  save([this, tell = operation->done](Result<> saved) {
    if (saved) drop_unreferenced(0, {});
    if (*tell) std::exchange(*tell, {})(std::move(saved));
  });
  return operation;
}

// Looks which layers are damaged, then makes those again: from their blobs, else by pulling.
class ImageStore::RepairOperation final : public Operation {
 public:
  RepairOperation(ImageStore& owner, Image image, std::function<void(Result<>)> done)
      : owner_(owner), image_(std::move(image)), done_(std::move(done)) {
    auto intact = std::make_shared<std::vector<bool>>();
    work_.start(
        owner_.loop_,
        [intact, store = owner_.store_, layers = image_.layers] {
          for (const Layer& layer : layers) intact->push_back(store.layer_intact(layer));
        },
        [this, intact] { looked(*intact); });
  }

 private:
  void looked(const std::vector<bool>& intact) {
    const bool any = std::find(intact.begin(), intact.end(), false) != intact.end();
    std::vector<SessionPtr> sessions;
    if (!image_.repo_digests.empty()) {
      if (auto reference = parse_reference(image_.repo_digests.front()))
        sessions = owner_.transport_.sessions(*reference, {});
    }
    std::vector<LayerRequest> requests = layer_requests(image_, sessions);
    for (size_t i = 0; i < requests.size(); ++i) {
      if (any && intact[i]) continue;
      requests[i].again = true;
      ++missing_;
    }
    for (LayerRequest& r : requests) {
      if (!r.again) continue;
      layers_.push_back(
          owner_.jobs_.make(std::move(r), [this](Result<> result) { layer_done(std::move(result)); }));
    }
  }

  void layer_done(Result<> result) {
    if (result && --missing_ > 0) return;
    layers_.clear();
    const auto done = std::move(done_);
    done(std::move(result));
  }

  ImageStore& owner_;
  Image image_;
  std::function<void(Result<>)> done_;
  loop::Work work_;
  std::vector<std::unique_ptr<Operation>> layers_;
  size_t missing_ = 0;
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

// Removing and collecting images.
#include <algorithm>
#include <utility>

#include "base/tree.h"
#include "image/images_impl.h"

namespace limpet::image {
namespace {

constexpr int64_t sweep_every_ms = 3600 * int64_t{1000};  // for leftovers, while there is space
constexpr int64_t spared_ms =
    1'800'000;  // of this daemon, during which a leftover of any age may be asked for
constexpr int64_t pressed_age_ms = 600'000;  // leftovers older than this go when the disk is full

}  // namespace

void ImageStore::configure_collection(int high_percent, int low_percent) {
  options_.gc_high_percent = high_percent;
  options_.gc_low_percent = low_percent;
}

// What several ask for while it cannot be done is done at once.
void ImageStore::drop(std::vector<Image> condemned, int64_t max_age_ms, loop::Task done) {
  if (!removal_) removal_ = Removal{{}, max_age_ms, {}};
  for (Image& image : condemned) removal_->condemned.push_back(std::move(image));
  removal_->max_age_ms = std::min(removal_->max_age_ms, max_age_ms);
  if (done) removal_->done.push_back(std::move(done));
  start_removal();
}

// Out of sight first, in one go, while nobody looks at the store; then off the disk, beside everything else.
void ImageStore::start_removal() {
  if (!removal_ || collect_work_.busy() || !holds_.begin_removal()) return;
  Store::Unneeded what;
  what.needed = images_;
  for (Image& image : holds_.images()) what.needed.push_back(std::move(image));
  what.condemned = std::move(removal_->condemned);
  what.max_age_ms = removal_->max_age_ms;
  what.now_ms = clock_.monotonic_ms();
  what.wall_s = clock_.wall().seconds;
  what.max_credit_ms = leftover_age_ms - spared_ms;
  what.asked = holds_.take_recent();
  swept_ms_ = what.now_ms;
  if (in_use_) {
    what.running.emplace();
    std::copy_if(images_.begin(), images_.end(), std::back_inserter(*what.running),
                 [this](const Image& image) { return in_use(image); });
  }
  auto gone = std::make_shared<std::vector<std::string>>();
  collect_work_.start(
      loop_,
      [gone, store = store_, what = std::move(what), known = leftovers_] {
        *gone = store.take_out(what, *known);
      },
      [this, gone, done = std::move(removal_->done)]() mutable {
        holds_.end_removal();
        sweep_removed(std::move(*gone), std::move(done));
      });
  removal_.reset();
}

void ImageStore::sweep_removed(std::vector<std::string> paths, std::vector<loop::Task> done) {
  collect_work_.start(
      loop_,
      [paths = std::move(paths)] {
        for (const std::string& path : paths) (void)remove_tree(path);
      },
      [this, done = std::move(done)] {
        start_removal();
        for (const loop::Task& f : done) f();
      });
}

bool ImageStore::young(const Image& image) const {
  const auto seen = last_seen_ms_.find(image.id);
  return seen != last_seen_ms_.end() && clock_.monotonic_ms() - seen->second < options_.gc_min_age_ms;
}

// The least recently used image that nothing holds; false when there is none.
bool ImageStore::collect_one() {
  const Image* oldest = nullptr;
  for (const Image& image : images_) {
    if (image.pinned || in_use(image) || young(image) || holds_.holds(image.id)) continue;
    if (oldest == nullptr || image.last_used < oldest->last_used) oldest = &image;
  }
  if (oldest == nullptr) return false;
  const Image gone = *oldest;
  std::erase_if(images_, [&](const Image& image) { return image.id == gone.id; });
  last_seen_ms_.erase(gone.id);
  // Also when the index cannot be written, for want of space perhaps: what it says too much is no harm.
  save([this, gone](const Result<>&) { drop({gone}, leftover_age_ms, [this] { collect(); }); });
  return true;
}

void ImageStore::collect() {
  if (!in_use_ || saving_ || collect_work_.busy() || removal_) return;
  const int used = options_.disk_used(store_.root());
  if (used > options_.gc_high_percent && !std::exchange(collecting_, true)) {
    // What nobody has a use for goes before what runs offline.
    return drop({}, pressed_age_ms, [this] { collect(); });
  }
  if (used <= options_.gc_low_percent) collecting_ = false;
  if (!collecting_) {
    if (clock_.monotonic_ms() - swept_ms_ >= sweep_every_ms) drop({}, leftover_age_ms, {});
    return;
  }
  if (!collect_one()) collecting_ = false;
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
  if (last && in_use(*image)) {
    return std::make_unique<Failed>(loop_, std::move(done),
                                    fail(Errc::conflict, "image \"" + reference + "\" is used by a pod"));
  }
  std::vector<Image> condemned;
  if (last) {
    condemned.push_back(*image);
    last_seen_ms_.erase(image->id);
    std::erase_if(images_, [&](const Image& i) { return i.id == condemned.front().id; });
  } else {
    std::erase(image->references, name);
  }
  auto operation = std::make_unique<RemoveOperation>(std::move(done));
  save([this, condemned, tell = operation->done](Result<> saved) {
    if (!condemned.empty()) drop(condemned, leftover_age_ms, {});
    if (*tell) std::exchange(*tell, {})(std::move(saved));
  });
  return operation;
}

}  // namespace limpet::image

#include "image/holds.h"

#include <algorithm>

namespace limpet::image {
namespace {

constexpr size_t max_recent = 256;

}  // namespace

Holds::Hold::Hold(Holds& owner, std::optional<Image> image, loop::Task ready)
    : owner_(owner), image_(std::move(image)), ready_(std::move(ready)), timer_(owner.loop_, "image.hold") {
  owner_.holds_.push_back(this);
  if (!owner_.removing_ && ready_) timer_.start(0, std::exchange(ready_, {}));
}

Holds::Hold::~Hold() {
  std::erase(owner_.holds_, this);
  if (image_) {
    std::erase_if(owner_.recent_, [this](const Image& i) { return i.id == image_->id; });
    if (owner_.recent_.size() < max_recent) owner_.recent_.push_back(std::move(*image_));
  } else {
    owner_.timer_.start(0, [free = &owner_.free_] { (*free)(); });
  }
}

bool Holds::begin_removal() {
  if (std::any_of(holds_.begin(), holds_.end(), [](const Hold* h) { return !h->image_; })) return false;
  removing_ = true;
  return true;
}

void Holds::end_removal() {
  removing_ = false;
  for (Hold* hold : holds_) {
    if (hold->ready_) hold->timer_.start(0, std::exchange(hold->ready_, {}));
  }
}

std::vector<Image> Holds::images() const {
  std::vector<Image> out;
  for (const Hold* hold : holds_) {
    if (hold->image_) out.push_back(*hold->image_);
  }
  return out;
}

bool Holds::holds(const std::string& image_id) const {
  return std::any_of(holds_.begin(), holds_.end(),
                     [&](const Hold* h) { return h->image_ && h->image_->id == image_id; });
}

}  // namespace limpet::image

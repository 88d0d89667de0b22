// What operations under way need of the store: never removed meanwhile. And the order of the two: whoever
// takes a hold looks at the store only once what was chosen for removal before is out of sight.
//
// On the loop's thread; owned by ImageStore, outlives its holds.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "image/store.h"
#include "loop/loop.h"

namespace limpet::image {

class Holds {
 public:
  // Keeps the blobs and layers of one image, or everything there is, while it lives.
  class Hold {
   public:
    Hold(Holds& owner, std::optional<Image> image, loop::Task ready);
    ~Hold();
    Hold(const Hold&) = delete;

   private:
    friend class Holds;
    Holds& owner_;
    std::optional<Image> image_;
    loop::Task ready_;
    loop::Timer timer_;
  };
  using HoldPtr = std::unique_ptr<Hold>;

  // free: called when a removal that was refused may begin.
  Holds(loop::Loop& loop, loop::Task free)
      : loop_(loop), free_(std::move(free)), timer_(loop, "image.free") {}
  Holds(const Holds&) = delete;

  // ready is called once, never from inside, when the store holds still; not after the hold is gone.
  HoldPtr take(const Image& image, loop::Task ready) {
    return std::make_unique<Hold>(*this, image, std::move(ready));
  }
  // For what is not known yet, such as an archive that has to be read first. Short, since nothing is removed
  // meanwhile.
  HoldPtr take_everything(loop::Task ready) {
    return std::make_unique<Hold>(*this, std::nullopt, std::move(ready));
  }

  // False while everything is held. Between begin and end the caller chooses what is neither in an image of
  // his nor in images() and takes it out of sight.
  bool begin_removal();
  void end_removal();
  std::vector<Image> images() const;
  // Those that were held at some time since the last call, and are no more.
  std::vector<Image> take_recent() { return std::exchange(recent_, {}); }
  bool holds(const std::string& image_id) const;

 private:
  loop::Loop& loop_;
  loop::Task free_;
  loop::Timer timer_;
  std::vector<Hold*> holds_;
  std::vector<Image> recent_;  // one of each id
  bool removing_ = false;
};

}  // namespace limpet::image

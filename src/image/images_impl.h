// The operations of ImageStore that more than one of its files needs. Not for other rooms.
#pragma once

#include "image/images.h"

namespace limpet::image {

// Unfinished work that somebody asked for within this time may be taken up again: a link that is down over a
// long weekend costs nothing twice.
constexpr int64_t leftover_age_ms = 7 * 24 * 3600 * int64_t{1000};

// An archive with its size and time, by which a changed one is told; and its path again.
std::string archive_note(const std::string& path);
std::string archive_path(const std::string& note);

// A pull under way and all who wait for it.
struct ImageStore::SharedPull {
  struct Waiter {
    uint64_t id;
    Progress progress;
    std::function<void(Result<ImageRoot>)> done;
  };
  std::string key;  // equal keys are one pull
  Reference reference;
  std::vector<std::string> docker_configs;
  Check check = Check::presence;
  std::vector<Waiter> waiters;
  PullTally tally;
  std::unique_ptr<Pull> pull;  // null: waits for its turn

  bool drop(uint64_t waiter) {
    for (size_t i = 0; i < waiters.size(); ++i) {
      if (waiters[i].id != waiter) continue;
      waiters.erase(waiters.begin() + static_cast<std::ptrdiff_t>(i));
      return true;
    }
    return false;
  }
};

class ImageStore::PullTicket final : public Operation {
 public:
  PullTicket(ImageStore& store, uint64_t id) : store_(store), id_(id) {}
  ~PullTicket() override { store_.leave_pull(id_); }

 private:
  ImageStore& store_;
  uint64_t id_;
};

// Calls back on the next turn of the loop, for answers that are known at once.
template <class T>
class Later final : public Operation {
 public:
  Later(loop::Loop& loop, std::function<void(T)> done, T value)
      : timer_(loop, "image.later"), done_(std::move(done)), value_(std::move(value)) {
    timer_.start(0, [this] {
      const auto f = std::move(done_);
      T v = std::move(value_);
      f(std::move(v));
    });
  }

 private:
  loop::Timer timer_;
  std::function<void(T)> done_;
  T value_;
};

}  // namespace limpet::image

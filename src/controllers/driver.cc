#include "controllers/driver.h"

#include <algorithm>

#include "base/log.h"

namespace limpet::controllers {
namespace {

constexpr size_t kAtOnce = 5;    // syncs under way, as upstream's workers
constexpr size_t kPerTurn = 20;  // then the loop breathes

}  // namespace

Driver::Driver(Timing& timing, const char* name, Sync sync)
    : timing_(timing), name_(name), sync_(std::move(sync)), alarm_(timing.alarm(name)) {}

Driver::~Driver() = default;

void Driver::add(const std::string& key) {
  queue_.add(key);
  plan();
}

void Driver::add_after(const std::string& key, int64_t delay_ms) {
  queue_.add_at(key, timing_.now_ms() + delay_ms);
  plan();
}

void Driver::start() {
  started_ = true;
  plan();
}

// One pass is under way at a time; the alarm stands for what is not due yet.
void Driver::plan() {
  if (!started_ || planned_) return;
  if (queue_.ready() && queue_.in_hand() < kAtOnce) {
    planned_ = true;
    timing_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.lock()) return;
      planned_ = false;
      run();
    });
    return;
  }
  const std::optional<int64_t> next = queue_.next_ms();
  if (!next) return alarm_->stop();
  alarm_->start(std::max<int64_t>(*next - timing_.now_ms(), 0), [this] { run(); });
}

void Driver::run() {
  for (size_t i = 0; i < kPerTurn && queue_.in_hand() < kAtOnce; i++) {
    const std::optional<std::string> key = queue_.take(timing_.now_ms());
    if (!key) break;
    sync(*key);
  }
  plan();
}

void Driver::sync(const std::string& key) {
  sync_(key, [this, key, alive = std::weak_ptr<bool>(alive_)](Result<> result) {
    if (alive.lock()) finish(key, result);
  });
}

void Driver::finish(const std::string& key, const Result<>& result) {
  if (result) {
    queue_.forget(key);
  } else {
    // Told once until it works again; a conflict only says that the cache is a step behind.
    if (result.error().code != Errc::conflict && queue_.failures(key) == 0) {
      log::warning("cannot bring an object to its wanted state, will try again",
                   {{"controller", name_}, {"object", key}, {"error", result.error()}});
    }
    queue_.retry(key, timing_.now_ms());
  }
  queue_.done(key);
  plan();
}

}  // namespace limpet::controllers

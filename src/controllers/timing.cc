#include "controllers/timing.h"

namespace limpet::controllers {
namespace {

class LoopAlarm final : public Alarm {
 public:
  LoopAlarm(loop::Loop& loop, const char* name) : timer_(loop, name) {}
  void start(int64_t delay_ms, std::function<void()> f) override { timer_.start(delay_ms, std::move(f)); }
  void stop() override { timer_.stop(); }

 private:
  loop::Timer timer_;
};

}  // namespace

std::unique_ptr<Alarm> LoopTiming::alarm(const char* name) {
  return std::make_unique<LoopAlarm>(loop_, name);
}

}  // namespace limpet::controllers

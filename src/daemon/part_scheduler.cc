// The scheduler: an ordinary client of the API that happens to live in the same process. On the leader alone,
// and from what the store says, never from memory of a term before.
#include "api/server.h"
#include "client/events.h"
#include "client/in_process.h"
#include "daemon/leadership.h"
#include "daemon/parts.h"
#include "scheduler/driver.h"

namespace limpet::daemon {
namespace {

class SchedulerPart final : public Part {
 public:
  explicit SchedulerPart(Device& device) : device_(device) {}
  const char* name() const override { return "scheduler"; }

  Result<> start() override {
    work_ = device_.leadership->follow({[this](uint64_t) { begin(); }, [this] { end(); }});
    return {};
  }

  void stop(loop::Task done) override {
    work_.reset();
    done();
  }

 private:
  void begin() {
    client_ = std::make_unique<client::InProcessClient>(device_.loop, device_.api->handler(),
                                                        "system:kube-scheduler",
                                                        std::vector<std::string>{"system:masters"});
    events_ = std::make_unique<client::EventRecorder>(device_.loop, device_.clock, device_.random, *client_,
                                                      "default-scheduler", "");
    driver_ =
        std::make_unique<scheduler::Driver>(device_.loop, device_.clock, device_.random, *client_, *events_);
    driver_->start();
  }

  void end() {
    driver_.reset();
    events_.reset();
    client_.reset();
  }

  Device& device_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<client::EventRecorder> events_;
  std::unique_ptr<scheduler::Driver> driver_;
  std::unique_ptr<Leadership::Follower> work_;
};

}  // namespace

std::unique_ptr<Part> make_scheduler_part(Device& device) { return std::make_unique<SchedulerPart>(device); }

}  // namespace limpet::daemon

// The controllers: ordinary clients of the API that happen to live in the same process. On the leader alone,
// and from what the store says, never from memory of a term before.
#include <map>

#include "api/server.h"
#include "client/events.h"
#include "client/in_process.h"
#include "controllers/manager.h"
#include "daemon/leadership.h"
#include "daemon/parts.h"
#include "node/lease_keeper.h"

namespace limpet::daemon {
namespace {

// One recorder for each controller that speaks, made when it does.
class Recorders final : public controllers::EventSink {
 public:
  Recorders(Device& device, client::Client& client) : device_(device), client_(client) {}

  void event(const char* component, const client::ObjectRef& about, bool warning, const std::string& reason,
             const std::string& message) override {
    std::unique_ptr<client::EventRecorder>& r = recorders_[component];
    if (!r) {
      r = std::make_unique<client::EventRecorder>(device_.loop, device_.clock, device_.random, client_,
                                                  component, "");
    }
    warning ? r->warning(about, reason, message) : r->normal(about, reason, message);
  }

 private:
  Device& device_;
  client::Client& client_;
  std::map<std::string, std::unique_ptr<client::EventRecorder>> recorders_;
};

class ControllersPart final : public Part {
 public:
  explicit ControllersPart(Device& device) : device_(device), timing_(device.loop, device.clock) {}
  const char* name() const override { return "controllers"; }

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
                                                        "system:kube-controller-manager",
                                                        std::vector<std::string>{"system:masters"});
    events_ = std::make_unique<Recorders>(device_, *client_);
    controllers::NodeOptions nodes;
    nodes.own_device = device_.node_name;
    const bool metered = device_.config.cluster.profile == "metered";
    nodes.grace_ms = (metered ? node::Heartbeat::metered() : node::Heartbeat::lan()).lease_s * 1000;
    manager_ = std::make_unique<controllers::Manager>(
        controllers::Context{device_.loop, timing_, device_.random, *client_, *events_}, nodes);
    manager_->start();
  }

  void end() {
    manager_.reset();
    events_.reset();
    client_.reset();
  }

  Device& device_;
  controllers::LoopTiming timing_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<Recorders> events_;
  std::unique_ptr<controllers::Manager> manager_;
  std::unique_ptr<Leadership::Follower> work_;
};

}  // namespace

std::unique_ptr<Part> make_controllers_part(Device& device) {
  return std::make_unique<ControllersPart>(device);
}

}  // namespace limpet::daemon

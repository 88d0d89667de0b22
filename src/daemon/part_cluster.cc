// The cluster as something that devices join and leave: what is asked of it over HTTP, and on its leader who
// is of the raft group.
#include <optional>

#include "api/server.h"
#include "daemon/cluster_service.h"
#include "daemon/group_keeper.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/member_heartbeats.h"
#include "daemon/parts.h"

namespace limpet::daemon {
namespace {

class ClusterPart final : public Part {
 public:
  explicit ClusterPart(Device& device) : device_(device) {}
  const char* name() const override { return "cluster"; }

  Result<> start() override {
    service_ = std::make_unique<ClusterService>(device_, [this] { look(); });
    device_.local->serve("cluster", service_->local());
    device_.local->serve("tokens", service_->local(), LocalApi::Access::root);
    device_.cluster_service = service_.get();
    device_.members_changed = [this] { look(); };
    work_ = device_.leadership->follow({[this](uint64_t term) {
                                          keeper_.emplace(device_, term);
                                          heartbeats_.emplace(device_);
                                        },
                                        [this] {
                                          heartbeats_.reset();
                                          keeper_.reset();
                                        }});
    return {};
  }

  void stop(loop::Task done) override {
    work_.reset();
    device_.members_changed = nullptr;
    device_.cluster_service = nullptr;
    device_.local->serve("cluster", nullptr);
    device_.local->serve("tokens", nullptr);
    service_.reset();
    done();
  }

 private:
  void look() {
    service_->members_changed();
    if (keeper_) keeper_->look();
  }

  Device& device_;
  std::unique_ptr<ClusterService> service_;
  std::optional<GroupKeeper> keeper_;
  std::optional<MemberHeartbeats> heartbeats_;
  std::unique_ptr<Leadership::Follower> work_;
};

}  // namespace

std::unique_ptr<Part> make_cluster_part(Device& device) { return std::make_unique<ClusterPart>(device); }

}  // namespace limpet::daemon

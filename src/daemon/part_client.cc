// The API as this device sees it, for its node: in process, where there is an API server.
#include "api/server.h"
#include "client/in_process.h"
#include "daemon/parts.h"
#include "pki/device.h"

namespace limpet::daemon {
namespace {

class ClientPart final : public Part {
 public:
  explicit ClientPart(Device& device) : device_(device) {}
  const char* name() const override { return "client"; }

  Result<> start() override {
    const pki::Subject self = pki::device_subject({device_.node_name, true});
    client_ = std::make_unique<client::InProcessClient>(device_.loop, device_.api->handler(),
                                                        self.common_name, self.organizations);
    device_.client = client_.get();
    return {};
  }

  void stop(loop::Task done) override {
    device_.client = nullptr;
    client_.reset();
    done();
  }

 private:
  Device& device_;
  std::unique_ptr<client::InProcessClient> client_;
};

}  // namespace

std::unique_ptr<Part> make_client_part(Device& device) { return std::make_unique<ClientPart>(device); }

}  // namespace limpet::daemon

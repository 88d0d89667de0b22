// The API server over the store, without any listener yet.
#include "api/identity.h"
#include "api/server.h"
#include "base/log.h"
#include "daemon/denied.h"
#include "daemon/metrics.h"
#include "daemon/parts.h"
#include "pki/device.h"

namespace limpet::daemon {
namespace {

class ApiPart final : public Part {
 public:
  explicit ApiPart(Device& device) : device_(device) {}
  const char* name() const override { return "api"; }

  Result<> start() override {
    api::Options options;
    auto keys = std::make_shared<api::AccountKeys>();
    CHECK_OK(keys->set({device_.identity.service_account_key_pem}, device_.random));
    options.identity = api::make_identity(keys, options.issuer, device_.clock, device_.random);
    device_.account_keys = std::move(keys);
    options.identity.read_certificate = [this, read = std::move(options.identity.read_certificate)](
                                            std::string_view der) -> Result<api::User> {
      TRY(api::User user, read(der));
      if (!user.in(pki::nodes_group) || !device_.denied) return user;
      TRY(const pki::Certificate certificate, pki::parse_certificate(der));
      if (device_.denied->has(certificate))
        return fail(Errc::unauthenticated, user.name + " was removed from this cluster");
      return user;
    };
    options.cluster_ca_pem = device_.identity.ca_pem;
    options.reader_gid = device_.reader_gid;
    options.is_reader = device_.is_reader;
    options.ready_checks = [this] { return readiness(); };
    device_.api_version = options.git_version;
    server_ = std::make_unique<api::ApiServer>(device_.loop, device_.clock, device_.random, *device_.store,
                                               std::move(options), nullptr);
    server_->set_cluster(device_.cluster);
    device_.api = server_.get();
    server_->metrics().add("device", [this](api::MetricsText& out) { counted_.collect(out); });
    device_.metrics = &counted_;
    device_.metrics->add("store", [this](api::MetricsText& out) {
      if (device_.store) describe_store(out, device_.store->stats());
    });
    device_.metrics->add("process", describe_process);
    device_.metrics->add("loop", [this](api::MetricsText& out) { describe_loop(out, device_.loop); });
    server_->start([this](Result<> started) {
      if (!started) {
        device_.fatal("api: " + started.error().message);
      } else {
        ready_ = true;
      }
    });
    return {};
  }

  void stop(loop::Task done) override {
    ready_ = false;
    device_.api = nullptr;
    device_.metrics = nullptr;
    device_.account_keys.reset();
    server_->stop();
    // Answers under way are given back to the server's exchanges in this turn of the loop.
    device_.loop.defer([this, done] {
      server_.reset();
      done();
    });
  }

  std::string not_ready() const override { return ready_ ? "" : "the built-in objects are not there yet"; }

 private:
  // Of the whole daemon, as one check of /readyz; `limpet status` tells them apart.
  std::vector<std::pair<std::string, std::string>> readiness() const {
    std::string failure;
    if (device_.not_ready) {
      for (const auto& [part, reason] : device_.not_ready()) {
        failure += (failure.empty() ? "" : "; ") + part + ": " + reason;
      }
    }
    return {{"daemon", failure}};
  }

  Device& device_;
  Collectors counted_;
  std::unique_ptr<api::ApiServer> server_;
  bool ready_ = false;
};

}  // namespace

std::unique_ptr<Part> make_api_part(Device& device) { return std::make_unique<ApiPart>(device); }

}  // namespace limpet::daemon

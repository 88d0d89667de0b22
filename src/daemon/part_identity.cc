// Keys and certificates: made at first start, renewed while running, following the names and addresses of the
// device.
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "daemon/names.h"
#include "daemon/parts.h"
#include "pki/identity.h"

namespace limpet::daemon {
namespace {

constexpr int64_t settle_ms = 2'000;  // addresses come in bursts
constexpr int64_t longest_wait_ms =
    3600'000;  // the wall clock may jump; renewal is looked at again this often
constexpr int64_t retry_ms = 60'000;

class IdentityPart final : public Part {
 public:
  explicit IdentityPart(Device& device) : device_(device) {}
  const char* name() const override { return "identity"; }

  Result<> start() override {
    TRY(device_.identity, pki::ensure_identity(options(), device_.clock.wall(), device_.random));
    report(device_.identity);
    timer_ = std::make_unique<loop::Timer>(device_.loop, "certificates");
    arm();
    auto watch = loop_watch();
    if (!watch) {
      log::warning("changes of addresses are not noticed at once, going on", {{"error", watch.error()}});
      return {};
    }
    watch_ = std::move(*watch);
    return {};
  }

  void stop(loop::Task done) override {
    watch_.reset();
    timer_.reset();
    work_.forget();
    done();
  }

  void reload(const Config& before) override {
    if (before.tls != device_.config.tls) renew();
  }

 private:
  Result<std::unique_ptr<AddressWatch>> loop_watch() {
    return AddressWatch::make(device_.loop, AddressWatch::Of::addresses, settle_ms, [this] { renew(); });
  }

  pki::IdentityOptions options() const {
    char host[256] = {};
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    const std::string host_name = check_format(Format::dns_name, host).empty() ? host : "";
    auto addresses = device_addresses();
    if (!addresses) {
      log::warning("addresses of the device are unknown, going on", {{"error", addresses.error()}});
      addresses = std::vector<std::string>();
    }
    return {.directory = device_.paths.pki_dir,
            .names = serving_names(device_.config, device_.node_name, host_name, *addresses),
            .server_url = local_api_url(device_.config),
            .kubeconfig_path = device_.paths.admin_kubeconfig};
  }

  static void report(const pki::Identity& identity) {
    for (const pki::Change& change : identity.changes)
      log::info(change.what + " written", {{"why", change.why}});
  }

  void arm() {
    const int64_t left_s = device_.identity.renew_at - device_.clock.wall().seconds;
    // A certificate that is due and could not be made is not tried in a tight loop.
    timer_->start(std::clamp(left_s * 1000, retry_ms, longest_wait_ms), [this] { renew(); });
  }

  // On the pool: keys and fsyncs take milliseconds. One at a time; a change meanwhile is looked at
  // afterwards.
  void renew() {
    if (work_.busy()) {
      again_ = true;
      return;
    }
    struct Job {
      pki::IdentityOptions options;
      WallTime now;
      SystemRandom random;
      Result<pki::Identity> result = fail(Errc::internal, "not run");
    };
    auto job = std::make_shared<Job>();
    job->options = options();
    job->now = device_.clock.wall();
    work_.start(
        device_.loop, [job] { job->result = pki::ensure_identity(job->options, job->now, job->random); },
        [this, job] { renewed(std::move(job->result)); });
  }

  void renewed(Result<pki::Identity> result) {
    if (!result) {
      log::error("certificates cannot be renewed, trying again", {{"error", result.error()}});
    } else {
      report(*result);
      const bool changed = !result->changes.empty();
      device_.identity = std::move(*result);
      if (changed && device_.identity_changed) device_.identity_changed();
    }
    arm();
    if (std::exchange(again_, false)) device_.loop.defer([this] { renew(); });
  }

  Device& device_;
  std::unique_ptr<loop::Timer> timer_;
  std::unique_ptr<AddressWatch> watch_;
  loop::Work work_;
  bool again_ = false;
};

}  // namespace

std::unique_ptr<Part> make_identity_part(Device& device) { return std::make_unique<IdentityPart>(device); }

}  // namespace limpet::daemon

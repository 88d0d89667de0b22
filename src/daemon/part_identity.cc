// Keys and certificates: made at first start, renewed while running, following the names and addresses of the
// device and the settings of its clock.
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "api/server.h"
#include "base/log.h"
#include "daemon/clock_watch.h"
#include "daemon/names.h"
#include "daemon/parts.h"
#include "pki/identity.h"
#include "pki/install.h"

namespace limpet::daemon {
namespace {

constexpr int64_t settle_ms = 2'000;                // addresses come in bursts
constexpr int64_t longest_wait_ms = 24 * 3600'000;  // timers stand still while the device sleeps
constexpr int64_t unwatched_wait_ms = 3600'000;     // where nobody tells that the clock was set
constexpr int64_t retry_ms = 60'000;

class IdentityPart final : public Part {
 public:
  explicit IdentityPart(Device& device) : device_(device) {}
  const char* name() const override { return "identity"; }

  Result<> start() override {
    TRY(device_.identity, pki::ensure_identity(options(), moment(), device_.random));
    report(device_.identity);
    failed_ = incomplete(device_.identity);
    timer_ = std::make_unique<loop::Timer>(device_.loop, "certificates");
    watch_addresses();
    watch_clock();
    arm();
    if (device_.config.role == "agent") {
      device_.take_issued = [this](Issued issued, Told told) {
        issued_.emplace(std::move(issued), std::move(told));
        renew();
      };
    } else {
      device_.take_keys = [this](ClusterKeys keys) {
        installing_ = std::move(keys);
        renew();
      };
      device_.renew_certificates = [this](Told told) {
        asked_.push_back(std::move(told));
        renew();
      };
    }
    return {};
  }

  void stop(loop::Task done) override {
    device_.take_keys = nullptr;
    device_.take_issued = nullptr;
    device_.renew_certificates = nullptr;
    addresses_.reset();
    clock_.reset();
    timer_.reset();
    work_.forget();
    done();
  }

  // Whatever is not as it should be is mended, not only what the configuration changed.
  void reload(const Config&) override { renew(); }

 private:
  using Told = std::function<void(Result<>)>;

  void watch_addresses() {
    auto watch =
        AddressWatch::make(device_.loop, AddressWatch::Of::addresses, settle_ms, [this] { renew(); });
    if (!watch) {
      log::warning("changes of addresses are not noticed at once, going on", {{"error", watch.error()}});
      return;
    }
    addresses_ = std::move(*watch);
  }

  void watch_clock() {
    auto watch = ClockWatch::make(device_.loop, [this] {
      const pki::Moment now = moment();
      log::notice("the clock was set", {{"it_reads", rfc3339(now.machine)}, {"now", rfc3339(now.believed)}});
      renew();
    });
    if (!watch) {
      log::warning("settings of the clock are not noticed at once, going on", {{"error", watch.error()}});
      return;
    }
    clock_ = std::move(*watch);
  }

  pki::Moment moment() const { return {device_.clock.wall(), SystemClock::machine()}; }

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
            .node_name = device_.node_name,
            .agent = device_.config.role == "agent",
            .names = serving_names(device_.config, device_.node_name, host_name, *addresses),
            .server_url = local_api_url(device_.config),
            .kubeconfig_path = device_.paths.admin_kubeconfig};
  }

  static bool incomplete(const pki::Identity& identity) {
    return !identity.unwritten.empty() || !identity.damaged.empty();
  }

  static void report(const pki::Identity& identity) {
    if (!identity.damaged.empty()) {
      log::error("no certificate can be made or renewed, going on with those that are there",
                 {{"error", identity.damaged}});
    }
    for (const pki::Change& change : identity.changes)
      log::info(change.what + " written", {{"why", change.why}});
    if (!identity.unwritten.empty()) {
      log::error("certificates cannot be written, going on with what is in memory and trying again",
                 {{"error", identity.unwritten}});
    }
  }

  void arm() {
    const int64_t left_s = device_.identity.renew_at - device_.clock.wall().seconds;
    // A certificate that is due and could not be made is not tried in a tight loop.
    const int64_t longest = clock_ ? longest_wait_ms : unwatched_wait_ms;
    timer_->start(failed_ || unserved_ ? retry_ms : std::clamp(left_s * 1000, retry_ms, longest),
                  [this] { renew(); });
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
      pki::Moment moment;
      SystemRandom random;
      std::optional<ClusterKeys> keys;
      std::optional<std::pair<Issued, Told>> issued;
      std::vector<Told> asked;
      Result<> installed;  // what was issued
      Result<pki::Identity> result = fail(Errc::internal, "not run");
    };
    auto job = std::make_shared<Job>(Job{.options = options(), .moment = moment(), .random = {}});
    job->keys = installing_;
    job->issued = std::exchange(issued_, {});
    job->asked = std::exchange(asked_, {});
    job->options.anew = !job->asked.empty();
    work_.start(
        device_.loop,
        [job] {
          if (job->keys) {
            if (auto installed = install(job->options.directory, *job->keys, job->random); !installed) {
              job->result = std::unexpected(std::move(installed).error().with("the cluster's keys"));
              return;
            }
          }
          if (job->issued) {
            const Issued& issued = job->issued->first;
            job->installed = pki::install_renewed(job->options.directory, issued.ca_pem,
                                                  issued.certificate_pem, job->random);
          }
          job->result = pki::ensure_identity(job->options, job->moment, job->random);
        },
        [this, job] {
          const Result<> end = told(job->result);
          if (job->result && job->keys == installing_) installing_.reset();
          renewed(std::move(job->result));
          for (const Told& done : job->asked) done(end);
          if (job->issued) job->issued->second(job->installed ? end : job->installed);
        });
  }

  static Result<> install(const std::string& directory, const ClusterKeys& keys, Random& random) {
    CHECK_OK(pki::install_authority(directory, keys.ca_pem, keys.ca_key_pem, random));
    CHECK_OK(pki::install_service_account_key(directory, keys.service_account_key_pem, random));
    return {};
  }

  // To who asked for new certificates.
  static Result<> told(const Result<pki::Identity>& result) {
    if (!result) return std::unexpected(result.error());
    if (!result->damaged.empty()) return fail(Errc::corrupt, result->damaged);
    if (!result->unwritten.empty()) return fail(Errc::exhausted, result->unwritten);
    return {};
  }

  void renewed(Result<pki::Identity> result) {
    failed_ = !result || incomplete(*result);
    if (!result) {
      log::error("certificates cannot be renewed, trying again", {{"error", result.error()}});
    } else {
      report(*result);
      // Not what this run wrote: one before may have been cut after it wrote something.
      const bool changed = result->serving_pem != device_.identity.serving_pem ||
                           result->serving_key_pem != device_.identity.serving_key_pem ||
                           result->ca_pem != device_.identity.ca_pem;
      const bool peer_changed =
          result->peer_pem != device_.identity.peer_pem || result->ca_pem != device_.identity.ca_pem;
      device_.identity = std::move(*result);
      if (peer_changed) tell_peers();
      if (changed || unserved_) serve();
      if (device_.api) device_.api->set_cluster_ca(device_.identity.ca_pem);
      if (device_.identity_looked_at) device_.identity_looked_at();
    }
    arm();
    if (std::exchange(again_, false)) device_.loop.defer([this] { renew(); });
  }

  // Connections that are up stay; those to come show the new certificate.
  void tell_peers() {
    const pki::Identity& id = device_.identity;
    if (device_.certificate_renewed) device_.certificate_renewed();
    if (!device_.peers) return;
    if (auto taken = device_.peers->replace({id.peer_pem, id.peer_key_pem, id.ca_pem}); !taken)
      return log::error("the new certificate cannot be shown to other devices", {{"error", taken.error()}});
    if (device_.peers_renewed) device_.peers_renewed();
  }

  // A certificate that was renewed and is not served helps nobody: tried until it is.
  void serve() {
    unserved_ = false;
    if (!device_.identity_changed) return;
    if (auto taken = device_.identity_changed(); !taken) {
      unserved_ = true;
      log::error("the new certificate cannot be served, the old one stays, trying again",
                 {{"error", taken.error()}});
    }
  }

  Device& device_;
  std::unique_ptr<loop::Timer> timer_;
  std::unique_ptr<AddressWatch> addresses_;
  std::unique_ptr<ClockWatch> clock_;
  loop::Work work_;
  std::optional<ClusterKeys> installing_;  // until they are files
  std::optional<std::pair<Issued, Told>> issued_;
  std::vector<Told> asked_;
  bool again_ = false;
  bool failed_ = false;
  bool unserved_ = false;
};

}  // namespace

std::unique_ptr<Part> make_identity_part(Device& device) { return std::make_unique<IdentityPart>(device); }

}  // namespace limpet::daemon

// The API as an agent sees it: HTTPS to any of the servers, with the device's certificate, which they renew.
// And the way into a cluster again, for an agent whose servers do not know it any more.
#include "base/log.h"
#include "client/remote.h"
#include "daemon/agent_certificate.h"
#include "daemon/join_command.h"
#include "daemon/local_api.h"
#include "daemon/metrics.h"
#include "daemon/parts.h"
#include "daemon/server_roll.h"
#include "daemon/tls_dialer.h"
#include "http/client.h"

namespace limpet::daemon {
namespace {

constexpr uint16_t api_port = 6443;  // of a server, until one tells it

class RemotePart final : public Part {
 public:
  explicit RemotePart(Device& device) : device_(device) {}
  const char* name() const override { return "servers"; }

  Result<> start() override {
    device_.roll = load_roll(device_.paths.roll_file);
    if (device_.roll.empty()) {  // until a server tells more than the join did
      for (const peer::Member& m : device_.seeds)
        device_.roll.push_back({m.id, m.name, m.addresses, api_port});
    }
    engine_ = std::make_unique<tls::Engine>(device_.loop, device_.clock);
    TRY(context_, tls::ClientContext::make(*engine_, tls_options()));
    const bool metered = device_.config.cluster.profile == "metered";
    dialer_ = std::make_unique<TlsDialer>(*context_, metered ? keep_alive_metered : keep_alive_lan);
    client_ = std::make_unique<client::RemoteClient>(device_.loop, *dialer_, device_.random);
    CHECK_OK(use_servers());
    device_.client = client_.get();
    device_.tls = engine_.get();
    device_.certificate_renewed = [this] { renewed(); };
    device_.roll_changed = [this] { (void)use_servers(); };
    join_ = std::make_unique<JoinCommand>(device_);
    device_.metrics->add("tls", [this](api::MetricsText& out) { describe_tls(out, engine_->stats()); });
    certificate_ = std::make_unique<AgentCertificate>(device_, [this] { return client_->shut_out(); });
    client_->on_shut_out([this] { certificate_->shut_out(); });
    device_.identity_looked_at = [this] { certificate_->look(); };
    device_.authorities_told = [this](const auto& authorities) { certificate_->told(authorities); };
    certificate_->look();
    if (device_.local) {
      device_.local->describe("servers", [this](json::Writer& w) { describe(w); });
      device_.local->serve("cluster", [this](http::ExchangePtr e) { serve(std::move(e)); });
    }
    return {};
  }

  void stop(loop::Task done) override {
    if (device_.metrics) device_.metrics->add("tls", {});
    device_.authorities_told = nullptr;
    device_.identity_looked_at = nullptr;
    client_->on_shut_out(nullptr);
    certificate_.reset();
    device_.client = nullptr;
    device_.certificate_renewed = nullptr;
    device_.tls = nullptr;
    device_.roll_changed = nullptr;
    if (device_.local) {
      device_.local->describe("servers", {});
      device_.local->serve("cluster", nullptr);
    }
    join_.reset();
    client_.reset();
    // Calls that ended in this turn let go of the dialer in the next.
    device_.loop.defer([this, done] {
      dialer_.reset();
      context_.reset();
      engine_.reset();
      done();
    });
  }

 private:
  // Below /limpet/v1/cluster.
  void serve(http::ExchangePtr e) {
    const std::string& path = e->request().path;
    if (path == "/limpet/v1/cluster/join") {
      if (JoinCommand::check(e)) join_->run(std::move(e));
      return;
    }
    if (path == "/limpet/v1/cluster/certificates") return certificate_->renew(std::move(e));
    if (path == "/limpet/v1/cluster/authority") {
      if (e->request().method == "GET") return certificate_->status(e);
      return e->respond(local_failure(
          409, "Conflict", "the authority is the whole cluster's: run limpet cert rotate --ca on a server"));
    }
    e->respond(local_failure(
        404, "NotFound", "this device is an agent: ask a server of its cluster for " + e->request().path));
  }

  tls::ClientOptions tls_options() const {
    tls::ClientOptions o;
    o.ca_pem = device_.identity.ca_pem;
    o.certificate_pem = device_.identity.peer_pem;
    o.key_pem = device_.identity.peer_key_pem;
    return o;
  }

  Result<> use_servers() {
    std::vector<client::Server> configured;
    for (const std::string& text : device_.servers) {
      TRY(const http::Url url, http::parse_url("https://" + text));
      configured.push_back({url.origin.host, url.origin.port});
    }
    client_->set_servers(configured, api_servers(device_.roll));
    return {};
  }

  // Connections of before end, so that the servers see the new certificate; on an error they go on with the
  // old.
  void renewed() {
    if (auto taken = context_->replace(tls_options()); !taken)
      return log::error("the new certificate cannot be used", {{"error", taken.error()}});
    client_->reconnect();
  }

  // Of `limpet status`: which server is in use, or why none is.
  void describe(json::Writer& w) const {
    const std::string problem = certificate_->problem();
    w.begin_object().field("inUse", client_->server());
    w.field("problem", problem.empty() ? client_->last_error() : problem);
    w.key("known").begin_array();
    for (const peer::ServerEntry& s : device_.roll) w.string(s.name);
    w.end_array().end_object();
  }

  Device& device_;
  std::unique_ptr<tls::Engine> engine_;
  std::unique_ptr<tls::ClientContext> context_;
  std::unique_ptr<TlsDialer> dialer_;
  std::unique_ptr<client::RemoteClient> client_;
  std::unique_ptr<JoinCommand> join_;
  std::unique_ptr<AgentCertificate> certificate_;
};

}  // namespace

std::unique_ptr<Part> make_remote_part(Device& device) { return std::make_unique<RemotePart>(device); }

}  // namespace limpet::daemon

// How an agent is reached: its control connection to a server, and the streams that it dials when asked.
// Needs the node's part, whose service is what they carry.
#include "base/atomic_file.h"
#include "base/log.h"
#include "daemon/agent_link.h"
#include "daemon/local_api.h"
#include "daemon/metrics.h"
#include "daemon/node_service.h"
#include "daemon/parts.h"
#include "daemon/server_roll.h"
#include "http/server.h"
#include "peer/peers.h"

namespace limpet::daemon {
namespace {

class AgentLinkPart final : public Part {
 public:
  explicit AgentLinkPart(Device& device) : device_(device) {}
  const char* name() const override { return "agent link"; }

  Result<> start() override {
    const bool metered = device_.config.cluster.profile == "metered";
    TRY(peers_,
        peer::Peers::make(device_.loop, *device_.tls, device_.clock, device_.random, options(metered), {}));
    http_ = std::make_unique<http::Server>(device_.loop, node_service_options(), [this](http::ExchangePtr e) {
      device_.node_service->handle(std::move(e));
    });
    AgentLink::Hooks hooks;
    hooks.dial = [this](const peer::ServerEntry& server, peer::Kind kind, uint64_t stream,
                        AgentLink::Done done) { return dial(server, kind, stream, std::move(done)); };
    hooks.on_stream = [this](std::unique_ptr<loop::Stream> stream) {
      http::Peer peer;
      peer.address = stream->peer();
      http_->serve(std::move(stream), std::move(peer));
    };
    hooks.on_roll = [this](const ServerRoll& roll) { learn(roll); };
    hooks.on_authorities = [this](const std::vector<std::string>& keys) {
      if (device_.authorities_told) device_.authorities_told(keys);
    };
    link_ = std::make_unique<AgentLink>(
        device_.loop, device_.random,
        metered ? peer::ControlOptions::agent_metered() : peer::ControlOptions::agent_lan(),
        std::move(hooks));
    link_->set_servers(device_.roll);
    device_.peers = peers_.get();
    device_.peers_renewed = [this] { link_->renew(); };
    device_.local->describe("heldBy", [this](json::Writer& w) {
      w.begin_object().field("server", link_->server()).field("sinceSeconds", link_->since_ms() / 1000);
      w.field("problem", link_->last_error()).end_object();
    });
    device_.metrics->add("link", [this](api::MetricsText& out) { describe_link(out, *link_); });
    return {};
  }

  void stop(loop::Task done) override {
    device_.local->describe("heldBy", {});
    device_.metrics->add("link", {});
    device_.peers_renewed = nullptr;
    device_.peers = nullptr;
    link_.reset();
    save_.forget();
    peers_->stop();
    http_->shutdown(0, [this, done] {
      device_.loop.defer([this, done] {
        http_.reset();
        peers_.reset();
        done();
      });
    });
  }

 private:
  peer::Credentials credentials() const {
    const pki::Identity& id = device_.identity;
    return {id.peer_pem, id.peer_key_pem, id.ca_pem};
  }

  peer::PeersOptions options(bool metered) const {
    peer::PeersOptions o;
    o.name = device_.node_name;
    o.cluster = device_.cluster_id;
    o.listen = false;
    o.software = "limpet " LIMPET_VERSION;
    o.credentials = credentials();
    o.timing = metered ? peer::Timing::metered() : peer::Timing::lan();
    return o;
  }

  std::unique_ptr<http::Dialer::Dial> dial(const peer::ServerEntry& server, peer::Kind kind, uint64_t stream,
                                           AgentLink::Done done) {
    struct Dialling final : http::Dialer::Dial {
      std::unique_ptr<peer::Dial> dial;
    };
    auto dialling = std::make_unique<Dialling>();
    peer::Target target{.name = server.name, .addresses = server.addresses, .kind = kind, .stream = stream};
    dialling->dial = peers_->dial(std::move(target), [done = std::move(done)](Result<peer::Dialled> d) {
      if (!d) return done(std::unexpected(std::move(d).error()));
      done(std::move(d->stream));
    });
    return dialling;
  }

  // For the API client, and for the next start; on the pool, since it waits for the disk.
  void learn(const ServerRoll& roll) {
    if (roll == device_.roll || roll.empty()) return;
    device_.roll = roll;
    if (device_.roll_changed) device_.roll_changed();
    keep();
  }
  void keep() {
    if (save_.busy()) return;  // what is newest then follows
    const std::string text = roll_text(device_.roll);
    auto outcome = std::make_shared<Result<>>();
    save_.start(
        device_.loop,
        [path = device_.paths.roll_file, text, outcome] {
          *outcome = write_file_atomic(path, text, 0600, "daemon.roll");
        },
        [this, text, outcome] {
          if (!*outcome)
            return log::warning("the list of servers cannot be kept", {{"error", outcome->error()}});
          if (text != roll_text(device_.roll)) keep();
        });
  }

  Device& device_;
  std::unique_ptr<peer::Peers> peers_;
  std::unique_ptr<http::Server> http_;
  std::unique_ptr<AgentLink> link_;
  loop::Work save_;
};

}  // namespace

std::unique_ptr<Part> make_agent_link_part(Device& device) { return std::make_unique<AgentLinkPart>(device); }

}  // namespace limpet::daemon

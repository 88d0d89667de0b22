// A server's way to the containers of other devices: connections to other servers, streams that agents dial.
#include "api/node_access.h"
#include "daemon/agent_streams.h"
#include "daemon/local_api.h"
#include "daemon/member_records.h"
#include "daemon/node_service.h"
#include "daemon/node_streams.h"
#include "daemon/parts.h"
#include "daemon/remote_node_access.h"
#include "http/server.h"
#include "peer/peers.h"
#include "pki/certificate.h"

namespace limpet::daemon {
namespace {

class NodesPart final : public Part {
 public:
  explicit NodesPart(Device& device) : device_(device) {}
  const char* name() const override { return "nodes"; }

  Result<> start() override {
    AgentStreams::Options options;
    if (device_.config.cluster.profile == "metered") options.timing = peer::ControlOptions::server_metered();
    agents_ = std::make_unique<AgentStreams>(device_.loop, device_.random, options);
    streams_ = std::make_unique<NodeStreams>(device_.loop, *agents_, hooks(), NodeStreams::Options());
    remote_ = std::make_unique<RemoteNodeAccess>(device_.loop,
                                                 [this](const std::string& node, http::Dialer::Done done) {
                                                   return streams_->open(node, std::move(done));
                                                 });
    http_ = std::make_unique<http::Server>(device_.loop, node_service_options(),
                                           [this](http::ExchangePtr e) { serve(std::move(e)); });
    device_.remote_nodes = remote_.get();
    device_.take_node_stream = [this](const peer::Caller& caller, std::unique_ptr<loop::Stream> stream) {
      take(caller, std::move(stream));
    };
    device_.roll_changed = [this] { agents_->set_roll(device_.roll); };
    agents_->set_roll(device_.roll);
    device_.certificate_renewed = [this] { tell_authorities(); };
    tell_authorities();
    device_.local->describe("agents", [this](json::Writer& w) {
      w.begin_array();
      for (const std::string& agent : agents_->agents()) w.string(agent);
      w.end_array();
    });
    return {};
  }

  void stop(loop::Task done) override {
    device_.local->describe("agents", {});
    device_.roll_changed = nullptr;
    device_.certificate_renewed = nullptr;
    device_.take_node_stream = nullptr;
    device_.remote_nodes = nullptr;
    http_->shutdown(0, [this, done] {
      device_.loop.defer([this, done] {
        http_.reset();
        remote_.reset();
        streams_.reset();
        agents_.reset();
        done();
      });
    });
  }

 private:
  // An agent that goes by others asks for these.
  void tell_authorities() {
    std::vector<std::string> keys;
    if (const auto trusted = pki::parse_bundle(device_.identity.ca_pem)) {
      for (const pki::Certificate& authority : *trusted) keys.push_back(authority.spki_sha256());
    }
    agents_->set_authorities(std::move(keys));
  }

  NodeStreams::Hooks hooks() {
    NodeStreams::Hooks h;
    h.servers = [this] {
      std::vector<std::string> names;
      for (const auto& [id, record] : device_.members->all()) {
        if (record.device.name != device_.node_name) names.push_back(record.device.name);
      }
      return names;
    };
    h.dial = [this](const std::string& server, http::Dialer::Done done) {
      return dial(server, std::move(done));
    };
    return h;
  }

  std::unique_ptr<http::Dialer::Dial> dial(const std::string& server, http::Dialer::Done done) {
    struct Dialling final : http::Dialer::Dial {
      std::unique_ptr<peer::Dial> dial;
    };
    auto dialling = std::make_unique<Dialling>();
    peer::Target target;
    target.name = server;
    target.kind = peer::Kind::node;
    if (const MemberRecord* record = device_.members->find(server)) {
      target.member = record->device.member;
      target.addresses = record->device.addresses;
    }
    dialling->dial =
        device_.peers->dial(std::move(target), [done = std::move(done)](Result<peer::Dialled> d) {
          if (!d) return done(std::unexpected(std::move(d).error()));
          done(std::move(d->stream));
        });
    return dialling;
  }

  // The name of the caller is that of its certificate.
  void take(const peer::Caller& caller, std::unique_ptr<loop::Stream> stream) {
    if (caller.kind == peer::Kind::agent)
      return agents_->connected(caller.about.name, std::move(stream), caller.version);
    if (caller.kind == peer::Kind::stream)
      return agents_->arrived(caller.about.name, caller.stream, std::move(stream));
    if (caller.kind != peer::Kind::node) return;
    http::Peer from;
    from.address = caller.address;
    http_->serve(std::move(stream), std::move(from));
  }

  void serve(http::ExchangePtr exchange) {
    if (NodeStreams::serves(exchange->request().path)) return streams_->handle(exchange);
    if (device_.node_service) return device_.node_service->handle(std::move(exchange));
    exchange->respond(local_failure(503, "ServiceUnavailable", "the node of this device is not there yet"));
  }

  Device& device_;
  std::unique_ptr<AgentStreams> agents_;
  std::unique_ptr<NodeStreams> streams_;
  std::unique_ptr<RemoteNodeAccess> remote_;
  std::unique_ptr<http::Server> http_;
};

}  // namespace

std::unique_ptr<Part> make_nodes_part(Device& device) { return std::make_unique<NodesPart>(device); }

}  // namespace limpet::daemon

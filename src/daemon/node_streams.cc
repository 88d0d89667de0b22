#include "daemon/node_streams.h"

#include <algorithm>

#include "api/status.h"
#include "client/client.h"
#include "daemon/local_api.h"

namespace limpet::daemon {
namespace {

constexpr std::string_view root = "/agentStream/";
constexpr const char* protocol = "limpet-stream";
constexpr size_t max_problem_bytes = 512;  // of what several servers said, for people

http::ClientOptions client_options(int64_t open_ms) {
  http::ClientOptions o;
  o.connect_timeout_ms = o.first_byte_timeout_ms = open_ms;
  o.max_idle_connections = 0;
  return o;
}

}  // namespace

class NodeStreams::ServerDialer final : public http::PlainDialer {
 public:
  explicit ServerDialer(const Hooks& hooks) : hooks_(hooks) {}
  std::unique_ptr<Dial> connect(loop::Loop&, const http::Origin& to, int64_t, Done done) override {
    return hooks_.dial(to.host, std::move(done));
  }

 private:
  const Hooks& hooks_;
};

// All other servers are asked for an agent's stream; the first that has it wins.
class NodeStreams::Search final : public http::Dialer::Dial {
 public:
  Search(NodeStreams& owner, const std::string& node, const std::vector<std::string>& servers, Done done)
      : done_(std::move(done)), pending_(servers.size()), nobody_(owner.loop_, "agent-search") {
    for (const std::string& server : servers) {
      http::ClientRequest r;
      r.origin.host = server;
      r.target = std::string(root) + http::percent_encode(node);
      calls_.push_back(owner.client_->upgrade(
          std::move(r), protocol,
          [this, server](Result<std::unique_ptr<loop::Stream>> s) { answered(server, std::move(s)); },
          [this, server](http::Response refusal) { refused(server, std::move(refusal)); }));
    }
    if (servers.empty()) nobody_.start(0, [this] { nowhere(); });
  }

 private:
  void refused(const std::string& server, http::Response refusal) {
    if (refusal.status != 404)
      note(server, client::Reply{refusal.status, std::move(refusal.body)}.error().message);
    told_ = true;
  }
  void answered(const std::string& server, Result<std::unique_ptr<loop::Stream>> stream) {
    if (!stream && !std::exchange(told_, false)) note(server, stream.error().message);
    if (!stream && --pending_ > 0) return;
    if (!stream) return nowhere();
    const auto calls = std::move(calls_);  // one of them calls this
    const auto done = std::move(done_);
    done(std::move(*stream));
  }
  void nowhere() {
    const auto done = std::move(done_);
    done(fail(Errc::not_found, "no server holds a connection of it" +
                                   (problems_.empty() ? std::string() : " (" + problems_ + ")")));
  }
  void note(const std::string& server, const std::string& what) {
    if (problems_.size() < max_problem_bytes)
      problems_ += (problems_.empty() ? "" : "; ") + server + ": " + what;
  }

  Done done_;
  size_t pending_;
  std::string problems_;
  bool told_ = false;  // why this one has no stream
  std::vector<std::unique_ptr<http::Call>> calls_;
  loop::Timer nobody_;
};

// What another server asked for: the request until the agent's stream is there, then the two joined.
struct NodeStreams::Relay {
  http::ExchangePtr exchange;
  std::unique_ptr<http::Dialer::Dial> opening;
  std::unique_ptr<Splice> splice;
};

NodeStreams::NodeStreams(loop::Loop& loop, AgentStreams& agents, Hooks hooks, Options options)
    : loop_(loop),
      agents_(agents),
      hooks_(std::move(hooks)),
      options_(options),
      dialer_(std::make_unique<ServerDialer>(hooks_)),
      client_(std::make_unique<http::Client>(loop, *dialer_, client_options(options.open_ms))) {}

NodeStreams::~NodeStreams() {
  for (const auto& relay : relays_) {
    if (relay->exchange) relay->exchange->on_gone([] {});
  }
}

std::unique_ptr<http::Dialer::Dial> NodeStreams::open(const std::string& node, Done done) {
  const std::vector<std::string> servers = hooks_.servers();
  if (std::ranges::find(servers, node) != servers.end()) return hooks_.dial(node, std::move(done));
  if (agents_.holds(node)) return agents_.open(node, std::move(done));
  return std::make_unique<Search>(*this, node, servers, std::move(done));
}

bool NodeStreams::serves(const std::string& path) { return path.starts_with(root); }

void NodeStreams::handle(const http::ExchangePtr& exchange) {
  const std::string agent = exchange->request().path.substr(root.size());
  if (exchange->request().method != "GET")
    return exchange->respond(local_failure(405, "MethodNotAllowed", "a stream is asked for by GET"));
  if (!agents_.holds(agent))
    return exchange->respond(local_failure(404, "NotFound", "agent \"" + agent + "\" is not connected here"));
  if (relays_.size() >= options_.max_relays) {
    return exchange->respond(
        local_failure(429, "TooManyRequests", "this server carries too many streams of agents already"));
  }
  const auto place = relays_.insert(relays_.end(), std::make_shared<Relay>());
  (*place)->exchange = exchange;
  (*place)->opening = agents_.open(
      agent, [this, place](Result<std::unique_ptr<loop::Stream>> stream) { join(place, std::move(stream)); });
  exchange->on_gone([this, place] { end(place); });
}

void NodeStreams::join(RelayPlace place, Result<std::unique_ptr<loop::Stream>> stream) {
  const auto relay = *place;
  const auto opening = std::move(relay->opening);  // it calls this
  const auto exchange = std::move(relay->exchange);
  exchange->on_gone([] {});
  Result<std::unique_ptr<loop::Stream>> caller = std::unexpected(Error{});
  if (stream) caller = exchange->take_over(protocol, {});
  if (!stream || !caller) {
    const Error why = stream ? caller.error() : stream.error();
    exchange->respond(local_failure(stream ? 400 : 502, stream ? "BadRequest" : "BadGateway", why.message));
    return end(place);
  }
  relay->splice =
      std::make_unique<Splice>(loop_, std::move(*caller), std::move(*stream), [this, place] { end(place); });
}

void NodeStreams::end(RelayPlace place) {
  // A callback of what it holds may be on the stack.
  loop_.defer([gone = std::move(*place)] {});
  relays_.erase(place);
}

}  // namespace limpet::daemon

// The ways in: HTTPS for everybody, the unix socket for the device's own command. First to stop, last to
// start.
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <list>

#include "api/server.h"
#include "api/status.h"
#include "base/log.h"
#include "daemon/client_connections.h"
#include "daemon/cluster_service.h"
#include "daemon/denied.h"
#include "daemon/local_api.h"
#include "daemon/metrics.h"
#include "daemon/node_service.h"
#include "daemon/parts.h"
#include "daemon/stream_service.h"
#include "http/server.h"
#include "loop/stream.h"
#include "peer/address.h"
#include "peer/rate_log.h"
#include "pki/trust.h"
#include "tls/tls.h"

namespace limpet::daemon {
namespace {

// Connections of the socket are counted apart, so that clients from outside never lock out the device's own
// command.
constexpr size_t socket_connections = 32;
// Beyond the limit so many handshakes still take place to tell the client why; more are closed at once.
constexpr size_t refusals_at_once = 4;
constexpr size_t crowd_size = 16;
constexpr int64_t drain_ms = 5'000;

// What the transport itself refuses, in the form that clients of the API read.
api::Status refusal(int code, std::string_view message) {
  api::Status status;
  status.code = code;
  status.message = message;
  switch (code) {
    case 408:
      status.reason = "Timeout";
      break;
    case 413:
      status.reason = "RequestEntityTooLarge";
      break;
    case 500:
      status.reason = "InternalError";
      break;
    case 503:
      status.reason = "ServiceUnavailable";
      break;
    default:
      status.reason = "BadRequest";
  }
  return status;
}

class ListenersPart final : public Part {
 public:
  explicit ListenersPart(Device& device) : device_(device), held_(device.loop) {}
  const char* name() const override { return "listeners"; }

  Result<> start() override {
    if (device_.api) CHECK_OK(listen_https());
    socket_ = std::make_unique<http::Server>(
        device_.loop, server_options(socket_connections),
        device_.local->over(device_.api ? device_.api->handler() : device_.view));
    CHECK_OK(listen_socket());
    device_.metrics->add("listeners", [this](api::MetricsText& out) {
      describe_http(out, https_ ? &https_->counters() : nullptr, socket_->counters());
    });
    if (!device_.api) {  // an agent: nobody comes in from outside
      log::info("listening", {{"socket", device_.paths.socket}});
      return {};
    }
    device_.identity_changed = [this] { return take_identity(); };
    device_.denied_changed = [this] { cut_denied(); };
    device_.metrics->add("tls", [this](api::MetricsText& out) { describe_tls(out, device_.tls->stats()); });
    log::info("listening", {{"api", strf("%s:%d", device_.config.listen.api_address.c_str(), tcp_->port())},
                            {"socket", device_.paths.socket}});
    return {};
  }

  void stop(loop::Task done) override {
    if (device_.api) {
      device_.identity_changed = nullptr;
      device_.denied_changed = nullptr;
      device_.metrics->add("tls", {});
    }
    device_.metrics->add("listeners", {});
    tcp_.reset();
    unix_.reset();
    handshakes_.clear();
    trim_.forget();
    unlink(device_.paths.socket.c_str());
    const auto finish = [this, done] {
      device_.loop.defer([this, done] {
        https_.reset();
        socket_.reset();
        streams_.reset();
        context_.reset();
        done();
      });
    };
    // What streams is ended, which lets the servers drain.
    if (device_.node_service) device_.node_service->stop();
    if (!device_.api) return socket_->shutdown(drain_ms, finish);
    device_.api->stop();
    https_->shutdown(drain_ms, [this, finish] { socket_->shutdown(drain_ms, finish); });
  }

 private:
  tls::ServerOptions tls_options() const {
    const pki::Identity& id = device_.identity;
    return {.certificate_pem = id.serving_pem, .key_pem = id.serving_key_pem, .client_ca_pem = id.ca_pem};
  }

  http::ServerOptions server_options(size_t connections) const {
    http::ServerOptions options;
    options.max_connections = connections;
    options.idle_timeout_ms = device_.config.limits.api_idle_timeout_ms;
    options.clock = &device_.clock;
    options.error_response = [](int status, std::string_view message) {
      http::Response response;
      response.status = status;
      response.headers.set("Content-Type", "application/json");
      response.body = refusal(status, message).json();
      return response;
    };
    return options;
  }

  Result<> listen_https() {
    TRY(context_, tls::ServerContext::make(*device_.tls, tls_options()));
    trust_.replace(device_.identity.ca_pem);
    streams_ = std::make_unique<StreamService>(device_.loop);
    const auto limit = static_cast<size_t>(device_.config.limits.api_connections);
    https_ = std::make_unique<http::Server>(
        device_.loop, server_options(limit),
        streams_->over(device_.cluster_service->public_over(device_.api->handler())));
    const auto& config = device_.config.listen;
    TRY(tcp_,
        loop::Listener::tcp(device_.loop, config.api_address, static_cast<uint16_t>(config.api_port),
                            [this](std::unique_ptr<loop::Stream> stream) { accept_tls(std::move(stream)); }));
    return {};
  }

  Result<> listen_socket() {
    const bool group = device_.reader_gid != ~0u;
    TRY(unix_, loop::Listener::unix_socket(
                   device_.loop, device_.paths.socket, group ? 0660 : 0600,
                   [this](std::unique_ptr<loop::Stream> stream) { accept_local(std::move(stream)); }));
    if (group && chown(device_.paths.socket.c_str(), 0, device_.reader_gid) != 0) {
      log::warning("the group cannot use the socket, going on",
                   {{"group", device_.config.listen.socket_group}});
    }
    return {};
  }

  void accept_tls(std::unique_ptr<loop::Stream> stream) {
    if (https_->full() && handshakes_.size() >= refusals_at_once) return;  // closes
    const std::string address = stream->peer();
    const auto slot = handshakes_.emplace(handshakes_.end());
    *slot = tls::wrap_server(
        *context_, std::move(stream),
        [this, slot, address, losses = trust_.losses()](Result<std::unique_ptr<tls::Stream>> s) {
          if (s) {
            http::Peer peer;
            peer.kind = http::Peer::Kind::tls;
            peer.address = address;
            peer.client_certificate_der = (*s)->peer_certificate();
            auto held = held_.hold(std::move(*s), peer.client_certificate_der);
            https_->serve(std::move(held), std::move(peer));
            if (losses != trust_.losses()) held_.cut_distrusted(trust_);
          } else {
            note(address, s.error());
          }
          handshakes_.erase(slot);
          if (handshakes_.empty()) crowd_is_gone();
        });
    crowd_ = std::max(crowd_, handshakes_.size());
  }

  void cut_denied() {
    if (device_.denied) held_.cut_denied([this](const std::string& key) { return device_.denied->has(key); });
  }

  // What is under way when an authority goes is looked at when it is through.
  Result<> take_identity() {
    CHECK_OK(context_->replace(tls_options()));
    if (trust_.replace(device_.identity.ca_pem)) held_.cut_distrusted(trust_);
    return {};
  }

  // Of what fails here one thing is of interest to people: a client that was given the hash or the
  // certificate of another authority. It alone sees that, and says no more than that it refuses.
  void note(const std::string& address, const Error& error) {
    if (error.code != Errc::permission_denied)
      return log::debug("connection refused", {{"peer", address}, {"error", error}});
    const auto left_out = distrust_.admit(peer::host_of(address), device_.loop.now_ms());
    if (!left_out) return;
    log::notice(
        "a client does not trust this server: its join token or kubeconfig is of another cluster, or from "
        "before the authority was replaced",
        {{"client", address}, {"error", error}, {"more", static_cast<int64_t>(*left_out)}});
  }

  // What many at once needed is freed in pieces between what stays, and the allocator keeps it: on a small
  // device it goes back. On the pool, since it takes a while.
  void crowd_is_gone() {
    if (std::exchange(crowd_, 0) < crowd_size || trim_.busy()) return;
    trim_.start(device_.loop, [] { malloc_trim(0); }, [] {});
  }

  void accept_local(std::unique_ptr<loop::Stream> stream) {
    auto credentials = loop::peer_credentials(*stream);
    if (!credentials) return;  // without knowing who it is nothing is served
    http::Peer peer;
    peer.kind = http::Peer::Kind::unix_socket;
    peer.address = stream->peer();
    peer.uid = credentials->uid;
    peer.gid = credentials->gid;
    peer.pid = credentials->pid;
    socket_->serve(std::move(stream), std::move(peer));
  }

  Device& device_;
  std::unique_ptr<tls::ServerContext> context_;
  std::unique_ptr<StreamService> streams_;
  ClientConnections held_;
  pki::Trust trust_;
  std::unique_ptr<http::Server> https_, socket_;
  std::unique_ptr<loop::Listener> tcp_, unix_;
  std::list<std::unique_ptr<tls::Handshake>> handshakes_;
  peer::RateLog distrust_;
  size_t crowd_ = 0;  // most handshakes at once since there were none
  loop::Work trim_;
};

}  // namespace

std::unique_ptr<Part> make_listeners_part(Device& device) { return std::make_unique<ListenersPart>(device); }

}  // namespace limpet::daemon

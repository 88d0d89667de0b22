// Logs, exec and attach of containers on another device, by HTTP over a stream to its node service; and the
// choice between it and this device.
//
// A session that fails names the device and says what to do. A stream that ends without a last word (the
// device lost power, the link broke) is an error: never the exit code 0, never the proper end of a log. Owned
// by the wiring, outlived by the loop and what the opener needs; sessions may outlive neither. Loop thread
// only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/node_access.h"
#include "http/client.h"
#include "loop/loop.h"

namespace limpet::daemon {

// Opens a stream to the node service of a device, within a bounded time. Done comes once, not from inside,
// unless the Dial is destroyed first. Errors say why, without the device's name.
using OpenNodeStream =
    std::function<std::unique_ptr<http::Dialer::Dial>(const std::string& node, http::Dialer::Done done)>;

class RemoteNodeAccess final : public api::NodeAccess {
 public:
  static constexpr int64_t usual_patience_ms = 15'000;  // to open, and again for the first word

  RemoteNodeAccess(loop::Loop& loop, OpenNodeStream open, int64_t patience_ms = usual_patience_ms);
  ~RemoteNodeAccess() override;

  [[nodiscard]] std::unique_ptr<api::LogSession> logs(const api::ContainerRef& container,
                                                      api::LogOptions options,
                                                      api::LogSession::Events events) override;
  [[nodiscard]] std::unique_ptr<api::ExecSession> exec(const api::ContainerRef& container,
                                                       api::ExecRequest request,
                                                       api::ExecSession::Events events) override;

 private:
  class Opener;
  std::unique_ptr<Opener> opener_;
  http::Client client_;
};

// This device's containers from `local`, those of the others from `remote`.
class AnyNodeAccess final : public api::NodeAccess {
 public:
  AnyNodeAccess(std::string own_node, api::NodeAccess& local, api::NodeAccess& remote)
      : own_node_(std::move(own_node)), local_(local), remote_(remote) {}

  [[nodiscard]] std::unique_ptr<api::LogSession> logs(const api::ContainerRef& container,
                                                      api::LogOptions options,
                                                      api::LogSession::Events events) override {
    return of(container).logs(container, std::move(options), std::move(events));
  }
  [[nodiscard]] std::unique_ptr<api::ExecSession> exec(const api::ContainerRef& container,
                                                       api::ExecRequest request,
                                                       api::ExecSession::Events events) override {
    return of(container).exec(container, std::move(request), std::move(events));
  }

 private:
  api::NodeAccess& of(const api::ContainerRef& c) { return c.node == own_node_ ? local_ : remote_; }

  std::string own_node_;
  api::NodeAccess& local_;
  api::NodeAccess& remote_;
};

}  // namespace limpet::daemon

// What the unix socket of an agent serves in place of the API: the pods of this device, from the node agent's
// own state, in the API's paths and shapes, so that `limpet ps, logs, exec, top, why` are the same program on
// every device and work cut off from the servers.
//
//   GET /api/v1/pods, /api/v1/namespaces/NS/pods      a PodList, status as it is now
//   GET /api/v1/namespaces/NS/pods/NAME
//   GET /api/v1/namespaces/NS/pods/NAME/log           the options of the API
//   GET /api/v1/namespaces/NS/pods/NAME/exec, attach  WebSocket v5.channel.k8s.io; root only
//   GET /metrics                                      as of the API, of what there is here
//
// Everything else is 404, with where to ask instead. It writes nothing: a change would be undone by the
// servers. Who asks is known from the kernel: uid 0, or a reader. Owned by the node part; loop thread only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/node_service.h"
#include "http/message.h"

namespace limpet::daemon {

class LocalView {
 public:
  struct Hooks {
    // The pods of this device as JSON objects, those of one namespace unless that is empty.
    std::function<std::vector<std::string>(std::string_view ns)> pods;
    std::function<std::optional<std::string>(const std::string& ns, const std::string& name)> pod;
    std::function<bool(uint32_t uid, uint32_t gid)> may_read;
    std::function<std::string()> metrics;
  };
  // The service serves logs and sessions; it outlives the view.
  LocalView(Hooks hooks, NodeService& service) : hooks_(std::move(hooks)), service_(service) {}

  void handle(http::ExchangePtr exchange);

 private:
  void measure(const http::ExchangePtr& exchange) const;
  void list(const http::ExchangePtr& exchange, const std::string& ns) const;
  void open(http::ExchangePtr exchange, const std::string& stored_pod, std::string_view what);

  Hooks hooks_;
  NodeService& service_;
};

}  // namespace limpet::daemon

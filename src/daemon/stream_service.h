// The server's end of bundles: many watches of one device over one WebSocket (client/bundle_wire.h).
//
// Each stream is an exchange of its own with the API's handler, as whoever the connection's certificate says:
// it is authenticated, authorised and counted there like any other. Only devices that show a certificate get
// a bundle, and only watches go through it. What a device does not read slows its watches, as on a connection
// of their own.
//
// Owned by the listeners' part; destroying it closes every bundle. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "http/message.h"
#include "loop/loop.h"

namespace limpet::daemon {

class StreamService {
 public:
  static constexpr size_t max_streams = 256;              // in one bundle
  static constexpr size_t queue_bound = size_t{8} << 20;  // a device that has not taken so much is cut off

  explicit StreamService(loop::Loop& loop) : loop_(loop) {}
  ~StreamService();
  StreamService(const StreamService&) = delete;

  // Serves bundle_path itself and hands everything else on.
  http::Handler over(http::Handler api);
  size_t bundles() const { return bundles_.size(); }

 private:
  class Bundle;
  class Stream;
  void accept(const http::ExchangePtr& exchange, const http::Handler& api);
  void finish(Bundle* bundle);

  loop::Loop& loop_;
  std::set<std::shared_ptr<Bundle>> bundles_;
};

}  // namespace limpet::daemon

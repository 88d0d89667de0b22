// The client's end of a bundle: streams of one server over one WebSocket (bundle_wire.h).
//
// It connects at once; what is opened before it is up waits. Shared by the streams that use it. Events come
// on the loop, never from inside open(); a stream may be closed, and the Bundle let go, from inside them.
// Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "client/bundle_wire.h"
#include "http/client.h"

namespace limpet::client {

class Bundle : public std::enable_shared_from_this<Bundle> {
 public:
  struct Events {
    std::function<void(int status)> on_head;
    std::function<void(std::string_view)> on_data;
    std::function<void(Result<>)> on_end;  // complete, or why not; the last call
    std::function<void()> on_unsupported;  // instead of all: this server has no bundles
  };

  static std::shared_ptr<Bundle> connect(http::Client& http, http::ClientRequest request);
  Bundle(const Bundle&) = delete;

  uint32_t open(std::string_view target, Events events);
  void close(uint32_t id);
  bool over() const { return over_; }  // nothing can be opened any more

 private:
  Bundle() = default;
  void opened(Result<std::unique_ptr<http::WebSocket>> socket);
  void message(std::string_view bytes, bool binary);
  void lost(const Error& why);
  void unsupported();

  std::map<uint32_t, std::shared_ptr<Events>> streams_;
  std::map<uint32_t, std::string> waiting_;  // targets, until the socket is there
  uint32_t last_ = 0;
  bool over_ = false, refused_ = false;
  std::unique_ptr<http::WebSocket> socket_;
  std::unique_ptr<http::Call> call_;
};

}  // namespace limpet::client

#include "client/bundle.h"

#include <utility>

namespace limpet::client {

std::shared_ptr<Bundle> Bundle::connect(http::Client& http, http::ClientRequest request) {
  const std::shared_ptr<Bundle> bundle(new Bundle());
  request.target = bundle_path;
  request.idle_timeout_ms = 0;
  bundle->call_ = http.websocket(
      std::move(request), bundle_protocol,
      [weak = std::weak_ptr(bundle)](Result<std::unique_ptr<http::WebSocket>> socket) {
        if (const auto self = weak.lock()) self->opened(std::move(socket));
      },
      [weak = std::weak_ptr(bundle)](http::Response refusal) {
        if (const auto self = weak.lock()) self->refused_ = refusal.status == 404;
      });
  return bundle;
}

uint32_t Bundle::open(std::string_view target, Events events) {
  const uint32_t id = ++last_;
  streams_[id] = std::make_shared<Events>(std::move(events));
  if (socket_) {
    socket_->send(encode_open(id, target), false);
  } else {
    waiting_[id] = target;
  }
  return id;
}

void Bundle::close(uint32_t id) {
  if (streams_.erase(id) == 0) return;
  if (waiting_.erase(id) == 0 && socket_) socket_->send(encode_close(id), false);
}

void Bundle::opened(Result<std::unique_ptr<http::WebSocket>> socket) {
  if (!socket && refused_) return unsupported();
  if (!socket) return lost(socket.error());
  if ((*socket)->subprotocol() != bundle_protocol) return unsupported();
  socket_ = std::move(*socket);
  http::WebSocket::Events events;
  events.on_message = [this](std::string_view bytes, bool binary) { message(bytes, binary); };
  events.on_close = [this](int, std::string_view) {
    lost({Errc::unavailable, "the connection of the streams was closed", 0});
  };
  socket_->set_events(std::move(events));
  for (const auto& [id, target] : std::exchange(waiting_, {})) socket_->send(encode_open(id, target), false);
}

void Bundle::message(std::string_view bytes, bool binary) {
  const auto self = shared_from_this();
  const Result<BundlePiece> piece = decode_piece(bytes);
  if (!binary || !piece) return lost({Errc::corrupt, "the server sends what is no bundle of streams", 0});
  const auto it = streams_.find(piece->id);
  if (it == streams_.end()) return;  // it was closed a moment ago
  const std::shared_ptr<Events> events = it->second;
  switch (piece->kind) {
    case BundleKind::head:
      return events->on_head(piece->status);
    case BundleKind::data:
      return events->on_data(piece->bytes);
    case BundleKind::end:
      streams_.erase(it);
      return events->on_end({});
    case BundleKind::broken:
      streams_.erase(it);
      return events->on_end(fail(Errc::unavailable, "the server broke off the stream"));
  }
}

void Bundle::lost(const Error& why) {
  const auto self = shared_from_this();
  over_ = true;
  if (socket_) socket_->set_events({});
  waiting_.clear();
  for (const auto& [id, events] : std::exchange(streams_, {})) events->on_end(std::unexpected(why));
}

void Bundle::unsupported() {
  const auto self = shared_from_this();
  over_ = true;
  waiting_.clear();
  for (const auto& [id, events] : std::exchange(streams_, {})) events->on_unsupported();
}

}  // namespace limpet::client

#include "http/websocket.h"

#include "base/random.h"
#include "http/frame_input.h"
#include "http/websocket_frames.h"

namespace limpet::http {
namespace {

constexpr int64_t close_timeout_ms = 5000;
constexpr size_t max_queued_pongs = 64 * 1024;  // a peer that pings and does not read gets no more answers

// Shared with itself: callbacks may destroy the WebSocket, and with it everything but this.
class Socket : public std::enable_shared_from_this<Socket> {
 public:
  Socket(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, WebSocketSetup setup)
      : loop_(loop),
        stream_(std::move(stream)),
        setup_(std::move(setup)),
        reader_(setup_.role == WebSocketRole::server),
        input_(stream_, std::move(setup_.received)),
        close_timer_(loop, "websocket-close") {}

  void start() {
    const auto weak = weak_from_this();
    stream_->set_events({
        .on_read =
            [weak](std::string_view s) {
              if (auto self = weak.lock()) self->received(s);
            },
        .on_eof =
            [weak] {
              if (auto self = weak.lock()) self->vanished();
            },
        .on_error =
            [weak](Error) {
              if (auto self = weak.lock()) self->vanished();
            },
        .on_drain =
            [weak] {
              if (auto self = weak.lock()) self->drained();
            },
    });
    // Nothing is delivered before the owner has set its events.
    loop_.defer([weak] {
      if (auto self = weak.lock()) self->pump();
    });
    stream_->read_start();
  }

  void set_events(WebSocket::Events events) {
    events_ = std::make_shared<WebSocket::Events>(std::move(events));
  }

  void send(Opcode opcode, std::string_view payload) {
    if (!stream_ || sent_close_) return;
    std::string frame;
    if (setup_.role == WebSocketRole::client) {
      unsigned char mask[4];
      SystemRandom random;
      random.fill(mask, sizeof mask);
      append_frame(&frame, opcode, payload, mask);
    } else {
      append_frame(&frame, opcode, payload, nullptr);
    }
    stream_->write(std::move(frame));
  }

  void close(int code, std::string_view reason) {
    if (!stream_ || sent_close_) return;
    send(Opcode::close, close_payload(code, reason));
    sent_close_ = true;
    input_.pause(false);  // the peer's answer must be read
    stream_->read_start();
    close_timer_.start(close_timeout_ms, [this] { vanished(); });
    const auto weak = weak_from_this();
    loop_.defer([weak] {
      if (auto self = weak.lock()) self->pump();
    });
  }

  void pause(bool paused) {
    if (sent_close_ || !stream_ || !input_.pause(paused) || paused) return;
    const auto weak = weak_from_this();
    loop_.defer([weak] {
      if (auto self = weak.lock()) self->pump();
    });
  }

  void drop() {
    events_ = std::make_shared<WebSocket::Events>();
    close_timer_.stop();
    if (stream_ && sent_close_) {
      loop::close_gently(loop_, std::move(stream_), close_timeout_ms);
    }
    stream_.reset();
    if (auto f = std::exchange(setup_.on_destroyed, nullptr)) f();
  }

  size_t queued() const { return stream_ ? stream_->write_queue_size() : 0; }
  const std::string& subprotocol() const { return setup_.subprotocol; }

 private:
  void received(std::string_view bytes) {
    const auto self = shared_from_this();
    input_.received(bytes, [this](std::string_view& input) { return step(input); });
  }

  void pump() {
    const auto self = shared_from_this();
    input_.resume([this](std::string_view& input) { return step(input); });
  }

  bool step(std::string_view& input) {
    const auto events = events_;
    switch (reader_.next(input)) {
      case FrameReader::Step::need_more:
        return false;
      case FrameReader::Step::message:
        if (!sent_close_ && events->on_message) events->on_message(reader_.payload(), reader_.binary());
        return true;
      case FrameReader::Step::ping:
        if (stream_->write_queue_size() < max_queued_pongs) send(Opcode::pong, reader_.payload());
        return true;
      case FrameReader::Step::pong:
        return true;
      case FrameReader::Step::close: {
        const int code = reader_.close_code();
        const std::string reason(reader_.payload());
        if (!sent_close_) send(Opcode::close, close_payload(code, ""));
        sent_close_ = true;
        finish(code, reason);
        return false;
      }
      case FrameReader::Step::error: {
        const int code = reader_.close_code();
        const std::string why(reader_.payload());
        send(Opcode::close, close_payload(code, why));
        sent_close_ = true;
        finish(code, why);
        return false;
      }
    }
    return false;
  }

  void vanished() { finish(1006, sent_close_ ? "no answer to the close frame" : "connection lost"); }

  // The one end: the stream goes (gently after a close frame), the owner hears of it once.
  void finish(int code, std::string_view reason) {
    if (!stream_) return;
    const auto self = shared_from_this();
    close_timer_.stop();
    if (code != 1006) loop::close_gently(loop_, std::move(stream_), close_timeout_ms);
    stream_.reset();
    input_.clear();
    const auto events = events_;
    if (events->on_close) events->on_close(code, reason);
  }

  void drained() {
    const auto events = events_;
    if (events->on_drain) events->on_drain();
  }

  loop::Loop& loop_;
  std::unique_ptr<loop::Stream> stream_;  // null: over
  WebSocketSetup setup_;
  FrameReader reader_;
  FrameInput input_;
  loop::Timer close_timer_;
  std::shared_ptr<WebSocket::Events> events_ = std::make_shared<WebSocket::Events>();
  bool sent_close_ = false;
};

class Handle final : public WebSocket {
 public:
  explicit Handle(std::shared_ptr<Socket> socket) : socket_(std::move(socket)) {}
  ~Handle() override { socket_->drop(); }
  void set_events(Events events) override { socket_->set_events(std::move(events)); }
  void send(std::string_view message, bool binary) override {
    socket_->send(binary ? Opcode::binary : Opcode::text, message);
  }
  void close(int code, std::string_view reason) override { socket_->close(code, reason); }
  size_t write_queue_size() const override { return socket_->queued(); }
  void pause_reading(bool pause) override { socket_->pause(pause); }
  const std::string& subprotocol() const override { return socket_->subprotocol(); }

 private:
  std::shared_ptr<Socket> socket_;
};

}  // namespace

std::unique_ptr<WebSocket> make_websocket(loop::Loop& loop, std::unique_ptr<loop::Stream> stream,
                                          WebSocketSetup setup) {
  auto socket = std::make_shared<Socket>(loop, std::move(stream), std::move(setup));
  socket->start();
  return std::make_unique<Handle>(std::move(socket));
}

}  // namespace limpet::http

#include "http/spdy_connection.h"

#include "http/frame_input.h"
#include "http/spdy.h"

namespace limpet::http {
namespace {

constexpr int64_t leave_timeout_ms = 30'000;
constexpr int64_t close_timeout_ms = 5000;
constexpr size_t max_queued_answers = 64 * 1024;  // a client that asks and does not read gets no more answers

}  // namespace

// Shared with itself: callbacks may destroy the SpdyConnection, and with it everything but this.
class SpdyConnection::Impl : public std::enable_shared_from_this<SpdyConnection::Impl> {
 public:
  Impl(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, size_t max_streams)
      : loop_(loop),
        stream_(std::move(stream)),
        session_(max_streams),
        input_(stream_),
        leave_timer_(loop, "spdy-close") {}

  void start() {
    const auto weak = weak_from_this();
    stream_->set_events({
        .on_read =
            [weak](std::string_view s) {
              if (auto self = weak.lock()) self->received(s);
            },
        .on_eof =
            [weak] {
              if (auto self = weak.lock()) self->over("", Farewell::peer_done);
            },
        .on_error =
            [weak](Error e) {
              if (auto self = weak.lock()) self->over(e.message, Farewell::none);
            },
        .on_drain =
            [weak] {
              if (auto self = weak.lock()) self->drained();
            },
    });
    // Nothing is delivered before the owner has set its events.
    loop_.defer([weak] {
      if (auto self = weak.lock(); self && self->stream_) self->stream_->read_start();
    });
  }

  void set_events(Events events) { events_ = std::make_shared<Events>(std::move(events)); }

  // A command of the owner: what the session has to say of it goes out.
  template <class Command>
  void command(Command f) {
    if (!stream_ || closing_) return;
    std::string out;
    f(session_, &out);
    if (!out.empty()) stream_->write(std::move(out));
  }

  void close() {
    if (!stream_ || closing_) return;
    command([](SpdySession& s, std::string* out) { s.goaway(SpdyGoaway::ok, out); });
    closing_ = true;
    pause(false);  // the client's end must be read
    unsent_ = stream_->write_queue_size();
    leave_timer_.repeat(leave_timeout_ms, [this] {
      const size_t left = stream_->write_queue_size();
      if (left > 0 && left < unsent_) {
        unsent_ = left;  // slow, but it reads
        return;
      }
      over("", Farewell::gentle);
    });
  }

  void pause(bool paused) {
    if (!stream_ || !input_.pause(paused) || paused) return;
    const auto weak = weak_from_this();
    loop_.defer([weak] {
      if (auto self = weak.lock()) self->pump();
    });
  }

  void drop() {
    events_ = std::make_shared<Events>();
    leave_timer_.stop();
    if (stream_ && closing_) loop::close_gently(loop_, std::move(stream_), close_timeout_ms);
    stream_.reset();
  }

  size_t queued() const { return stream_ ? stream_->write_queue_size() : 0; }

 private:
  enum class Farewell { none, gentle, peer_done };

  void received(std::string_view bytes) {
    if (closing_) return;  // nothing of it concerns anyone any more
    const auto self = shared_from_this();
    input_.received(bytes, [this](std::string_view& input) { return step(input); });
  }

  void pump() {
    const auto self = shared_from_this();
    input_.resume([this](std::string_view& input) { return step(input); });
  }

  bool step(std::string_view& input) {
    if (closing_) {
      input = {};
      return false;
    }
    const auto events = events_;
    switch (session_.next(input)) {
      case SpdySession::Step::need_more:
        return false;
      case SpdySession::Step::opened:
        if (events->on_stream) events->on_stream(session_.stream(), session_.headers());
        return true;
      case SpdySession::Step::data:
        if (events->on_data) events->on_data(session_.stream(), session_.payload());
        return true;
      case SpdySession::Step::ended:
        if (events->on_end) events->on_end(session_.stream());
        return true;
      case SpdySession::Step::reset:
        if (events->on_reset) events->on_reset(session_.stream());
        return true;
      case SpdySession::Step::refused:
        answer([](SpdySession& s, std::string* out) { s.reset(s.stream(), SpdyReset::refused, out); });
        return true;
      case SpdySession::Step::ping:
        answer([](SpdySession& s, std::string* out) { s.pong(s.ping_id(), out); });
        return true;
      case SpdySession::Step::goaway:
        return true;  // its streams go on; that it left is told by the end of the connection
      case SpdySession::Step::error: {
        const std::string why(session_.payload());
        command([](SpdySession& s, std::string* out) { s.goaway(SpdyGoaway::protocol_error, out); });
        over(why, Farewell::gentle);
        return false;
      }
    }
    return false;
  }

  template <class Command>
  void answer(Command f) {
    if (stream_->write_queue_size() < max_queued_answers) command(f);
  }

  // The one end: the stream goes, the owner hears of it once.
  void over(std::string_view why, Farewell farewell) {
    if (!stream_) return;
    const auto self = shared_from_this();
    leave_timer_.stop();
    if (farewell != Farewell::none) {
      loop::close_gently(loop_, std::move(stream_), close_timeout_ms, farewell == Farewell::peer_done);
    }
    stream_.reset();
    input_.clear();
    const auto events = events_;
    if (events->on_close) events->on_close(why);
  }

  void drained() {
    const auto events = events_;
    if (events->on_drain) events->on_drain();
  }

  loop::Loop& loop_;
  std::unique_ptr<loop::Stream> stream_;  // null: over
  SpdySession session_;
  FrameInput input_;
  loop::Timer leave_timer_;
  size_t unsent_ = 0;  // at the last look after close()
  std::shared_ptr<Events> events_ = std::make_shared<Events>();
  bool closing_ = false;
};

SpdyConnection::SpdyConnection(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, size_t max_streams)
    : impl_(std::make_shared<Impl>(loop, std::move(stream), max_streams)) {
  impl_->start();
}

SpdyConnection::~SpdyConnection() { impl_->drop(); }

void SpdyConnection::set_events(Events events) { impl_->set_events(std::move(events)); }
void SpdyConnection::reply(uint32_t stream) {
  impl_->command([stream](SpdySession& s, std::string* out) { s.reply(stream, out); });
}
void SpdyConnection::send(uint32_t stream, std::string_view bytes) {
  impl_->command([stream, bytes](SpdySession& s, std::string* out) { s.data(stream, bytes, out); });
}
void SpdyConnection::finish(uint32_t stream) {
  impl_->command([stream](SpdySession& s, std::string* out) { s.finish(stream, out); });
}
void SpdyConnection::reset(uint32_t stream, SpdyReset why) {
  impl_->command([stream, why](SpdySession& s, std::string* out) { s.reset(stream, why, out); });
}
void SpdyConnection::close() { impl_->close(); }
size_t SpdyConnection::write_queue_size() const { return impl_->queued(); }
void SpdyConnection::pause_reading(bool pause) { impl_->pause(pause); }

}  // namespace limpet::http

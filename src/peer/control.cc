#include "peer/control.h"

namespace limpet::peer {
namespace {

constexpr size_t max_queue = 256u << 10;

}  // namespace

struct Control::State : std::enable_shared_from_this<State> {
  State(loop::Loop& l, std::unique_ptr<loop::Stream> s, ControlOptions o, Events e)
      : loop(l),
        stream(std::move(s)),
        options(o),
        events(std::move(e)),
        ping(l, "peer.control.ping"),
        silence(l, "peer.control.silence") {}

  void start();
  void arrived(std::string_view bytes);
  bool handle(const Frame& frame);
  Result<> send(const ControlMessage& message);
  void await();
  void end(Error error);

  loop::Loop& loop;
  std::unique_ptr<loop::Stream> stream;  // null once it has ended
  ControlOptions options;
  Events events;
  FrameReader reader{Kind::agent};
  loop::Timer ping;
  loop::Timer silence;
  uint64_t token = 0;
};

void Control::State::start() {
  stream->set_events(
      {.on_read = [this](std::string_view bytes) { arrived(bytes); },
       .on_eof = [this] { end({Errc::unavailable, "the other side closed the control connection", 0}); },
       .on_error = [this](Error error) { end(std::move(error)); },
       .on_drain = {}});
  stream->read_start();
  await();
}

// Anything that comes shows that the other side is there.
void Control::State::await() {
  if (options.ping_ms > 0) {
    ping.repeat(options.ping_ms, [this] {
      if (const auto sent = send(Ping{++token}); !sent) end(sent.error());
    });
  }
  if (options.silence_ms <= 0) return;
  silence.start(options.silence_ms, [this] {
    end({Errc::timeout,
         strf("nothing came on the control connection for %lld ms",
              static_cast<long long>(options.silence_ms)),
         0});
  });
}

void Control::State::arrived(std::string_view bytes) {
  const auto self = shared_from_this();
  await();
  reader.add(bytes);
  while (stream) {
    const Result<std::optional<Frame>> next = reader.next();
    if (!next) return end(next.error());
    if (!*next || !handle(**next)) return;
  }
}

// False when that was the end.
bool Control::State::handle(const Frame& frame) {
  const Result<ControlMessage> message = decode_control(frame);
  if (!message) {
    end(message.error());
    return false;
  }
  if (const auto* asked = std::get_if<Ping>(&*message)) {
    if (const auto sent = send(Pong{asked->token}); !sent) end(sent.error());
  } else if (!std::holds_alternative<Pong>(*message)) {
    events.on_message(*message);
  }
  return stream != nullptr;
}

Result<> Control::State::send(const ControlMessage& message) {
  if (!stream) return fail(Errc::unavailable, "the control connection has ended");
  std::string bytes = encode(message);
  if (stream->write_queue_size() + bytes.size() > max_queue) {
    return fail(Errc::exhausted, "the other side of the control connection takes nothing");
  }
  stream->write(std::move(bytes));
  return {};
}

void Control::State::end(Error error) {
  if (!stream) return;
  const auto self = shared_from_this();
  ping.stop();
  silence.stop();
  stream.reset();
  if (events.on_end) events.on_end(std::move(error));
}

Control::Control(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, ControlOptions options,
                 Events events)
    : state_(std::make_shared<State>(loop, std::move(stream), options, std::move(events))) {
  state_->start();
}

// What runs in it now holds it a little longer.
Control::~Control() {
  state_->ping.stop();
  state_->silence.stop();
  state_->stream.reset();
}

Result<> Control::send(const ControlMessage& message) { return state_->send(message); }

}  // namespace limpet::peer

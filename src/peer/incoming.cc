#include "peer/incoming.h"

#include "base/failpoint.h"

namespace limpet::peer {

Incoming::Incoming(Core& core, Caller caller, std::unique_ptr<tls::Stream> stream, Counts& counts,
                   OnEnd on_end)
    : core_(core),
      caller_(std::move(caller)),
      stream_(std::move(stream)),
      counts_(counts),
      on_end_(std::move(on_end)) {}

void Incoming::start(std::string_view received, bool paused) {
  stream_->set_events({.on_read = [this](std::string_view bytes) { arrived(bytes); },
                       .on_eof = [this] { end(std::nullopt); },
                       .on_error = [this](const Error&) { end(std::nullopt); },
                       .on_drain = {}});
  paused_ = true;
  if (!received.empty()) {
    counts_.bytes += received.size();
    reader_.add(received);
  }
  pause(paused);
}

void Incoming::pause(bool paused) {
  if (!stream_ || paused_ == paused) return;
  paused_ = paused;
  if (paused) return stream_->read_stop();
  core_.loop.defer([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->stream_ || self->paused_) return;
    self->deliver();
    if (self->stream_ && !self->paused_) self->stream_->read_start();
  });
}

bool Incoming::answer(const std::string& message) {
  constexpr size_t most_bytes = 1024;
  constexpr int64_t soon_ms = 100;
  if (!stream_ || !owes_ || message.size() > most_bytes || stream_->write_queue_size() != 0 ||
      core_.loop.now_ms() - counts_.last_ms > soon_ms)
    return false;
  owes_ = false;
  std::string bytes = frame(FrameType::raft, message);
  ++counts_.answers;
  counts_.answer_bytes += bytes.size();
  stream_->write(std::move(bytes));
  return true;
}

void Incoming::arrived(std::string_view bytes) {
  owes_ = true;
  counts_.bytes += bytes.size();
  counts_.last_ms = core_.loop.now_ms();
  reader_.add(bytes);
  deliver();
}

// What stands in the reader when the owner pauses waits there.
void Incoming::deliver() {
  if (std::exchange(delivering_, true)) return;
  const auto self = shared_from_this();
  while (stream_ && !paused_) {
    const Result<std::optional<Frame>> next = reader_.next();
    if (!next) {
      delivering_ = false;
      return end(Refusal{Reason::malformed, next.error().message});
    }
    if (!*next) break;
    ++counts_.messages;
    if (LIMPET_FAILPOINT("peer.receive")) continue;
    core_.callbacks.on_raft(caller_.about.member, (*next)->payload);
  }
  delivering_ = false;
}

void Incoming::end(std::optional<Refusal> refused) {
  if (!stream_) return;
  const auto self = shared_from_this();
  stream_.reset();
  on_end_(self, std::move(refused));
}

void Incoming::close() { stream_.reset(); }

}  // namespace limpet::peer

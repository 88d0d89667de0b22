#include "peer/awaiting.h"

#include <utility>

namespace limpet::peer {

Awaiting::Awaiting(std::unique_ptr<loop::Stream> below, const loop::KeepAlive& idle,
                   const loop::KeepAlive& awaited)
    : below_(std::move(below)), idle_(idle), awaited_(awaited) {}

void Awaiting::owe(bool owed) {
  if (std::exchange(owed_, owed) != owed) loop::set_keep_alive(*below_, owed ? awaited_ : idle_);
}

void Awaiting::set_events(Events events) {
  if (events.on_read) {
    events.on_read = [this, read = std::move(events.on_read)](std::string_view bytes) {
      owe(false);
      read(bytes);  // may be the end of this
    };
  }
  below_->set_events(std::move(events));
}

void Awaiting::write(std::string bytes) {
  if (!bytes.empty()) owe(true);
  below_->write(std::move(bytes));
}

}  // namespace limpet::peer

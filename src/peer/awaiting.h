// A connection on which one side asks and waits: while an answer is owed, the kernel looks after the other
// side often. One that moved to another address, or was cut off without a word, would be waited for as long
// as TCP believes in it; all the time it would cost traffic on connections that are kept for later.
//
// A stream over another, which it owns. A question is what is written, and anything that comes answers it.
#pragma once

#include <memory>
#include <string>

#include "loop/stream.h"

namespace limpet::peer {

class Awaiting final : public loop::Stream {
 public:
  // `idle`: while nothing is owed, as the stream is tuned already.
  Awaiting(std::unique_ptr<loop::Stream> below, const loop::KeepAlive& idle, const loop::KeepAlive& awaited);

  void set_events(Events events) override;
  void read_start() override { below_->read_start(); }
  void read_stop() override { below_->read_stop(); }
  void write(std::string bytes) override;
  void shutdown() override { below_->shutdown(); }
  size_t write_queue_size() const override { return below_->write_queue_size(); }
  std::string peer() const override { return below_->peer(); }
  int fd() const override { return below_->fd(); }

 private:
  void owe(bool owed);

  std::unique_ptr<loop::Stream> below_;
  loop::KeepAlive idle_, awaited_;
  bool owed_ = false;
};

}  // namespace limpet::peer

#include "http/server_impl.h"

namespace limpet::http {

TakenStream::TakenStream(std::shared_ptr<Server::Impl> server, std::unique_ptr<loop::Stream> stream,
                         std::string received)
    : server_(std::move(server)),
      place_(server_->taken.insert(server_->taken.end(), this)),
      stream_(std::move(stream)),
      received_(std::move(received)),
      alive_(std::make_shared<TakenStream*>(this)) {
  stream_->read_stop();
  stream_->set_events({});
}

TakenStream::~TakenStream() {
  *alive_ = nullptr;
  server_->taken.erase(place_);
  --server_->counters.open_connections;
  stream_.reset();
  server_->check_stopped();
}

void TakenStream::set_events(Events events) {
  events_ = std::make_shared<Events>(events);
  stream_->set_events(std::move(events));
}

void TakenStream::read_start() {
  reading_ = true;
  if (received_.empty()) return stream_->read_start();
  server_->loop.defer([alive = alive_] {
    if (*alive != nullptr) (*alive)->deliver();
  });
}

void TakenStream::read_stop() {
  reading_ = false;
  stream_->read_stop();
}

// What came before the connection was given away; only then may the stream itself read on.
void TakenStream::deliver() {
  if (!reading_ || received_.empty()) return;
  const auto alive = alive_;
  const auto events = events_;
  const std::string bytes = std::exchange(received_, std::string());
  if (events->on_read) events->on_read(bytes);
  if (*alive != nullptr && reading_) stream_->read_start();
}

void TakenStream::break_off() {
  server_->loop.defer([alive = alive_] {
    if (*alive == nullptr) return;
    const auto events = (*alive)->events_;
    (*alive)->stream_->set_events({});
    if (events->on_error) events->on_error({Errc::cancelled, "the server is stopping", 0});
  });
}

}  // namespace limpet::http

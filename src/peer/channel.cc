#include "peer/channel.h"

namespace limpet::peer {

Channel::Channel(loop::Loop& loop, std::unique_ptr<loop::Stream> below, std::string received,
                 std::function<void()> on_gone)
    : loop_(loop),
      below_(std::move(below)),
      peer_(below_->peer()),
      received_(std::move(received)),
      on_gone_(std::move(on_gone)),
      alive_(std::make_shared<Channel*>(this)) {
  below_->read_stop();
  below_->set_events({});
}

Channel::~Channel() {
  *alive_ = nullptr;
  below_.reset();
  if (on_gone_) on_gone_();
}

void Channel::cut(Error error) {
  if (!below_) return;
  below_.reset();
  loop_.defer([alive = alive_, error = std::move(error)] {
    if (*alive == nullptr) return;
    const auto events = (*alive)->events_;
    if (events->on_error) events->on_error(error);
  });
}

void Channel::set_events(Events events) {
  events_ = std::make_shared<Events>(events);
  if (below_) below_->set_events(std::move(events));
}

void Channel::read_start() {
  if (!below_) return;
  reading_ = true;
  if (received_.empty()) return below_->read_start();
  loop_.defer([alive = alive_] {
    if (*alive != nullptr) (*alive)->deliver();
  });
}

void Channel::read_stop() {
  reading_ = false;
  if (below_) below_->read_stop();
}

// What came along; only then may the connection itself read on.
void Channel::deliver() {
  if (!reading_ || !below_ || received_.empty()) return;
  const Handle alive = alive_;
  const auto events = events_;
  const std::string bytes = std::exchange(received_, std::string());
  if (events->on_read) events->on_read(bytes);
  if (*alive != nullptr && reading_ && below_) below_->read_start();
}

void Channel::write(std::string bytes) {
  if (below_) below_->write(std::move(bytes));
}

void Channel::shutdown() {
  if (below_) below_->shutdown();
}

}  // namespace limpet::peer

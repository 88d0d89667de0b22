// A connection after its hello as its user sees it: what came along with the hello is read first, it can be
// cut from outside, and its end is noticed. The daemon holds those of its API's port by it, too.
//
// Owned by the user; whoever cuts it holds a handle that says whether it still lives.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "loop/stream.h"

namespace limpet::peer {

class Channel final : public loop::Stream {
 public:
  using Handle = std::shared_ptr<Channel*>;  // to null from the destructor on

  // on_gone is called from the destructor.
  Channel(loop::Loop& loop, std::unique_ptr<loop::Stream> below, std::string received,
          std::function<void()> on_gone);
  ~Channel() override;
  Handle handle() const { return alive_; }
  // Its user gets this error on a later turn, and nothing else any more.
  void cut(Error error);
  bool is_cut() const { return below_ == nullptr; }

  void set_events(Events events) override;
  void read_start() override;
  void read_stop() override;
  void write(std::string bytes) override;
  void shutdown() override;
  size_t write_queue_size() const override { return below_ ? below_->write_queue_size() : 0; }
  std::string peer() const override { return peer_; }

 private:
  void deliver();

  loop::Loop& loop_;
  std::unique_ptr<loop::Stream> below_;  // null once it was cut
  std::string peer_;
  std::string received_;
  std::function<void()> on_gone_;
  std::shared_ptr<Events> events_ = std::make_shared<Events>();
  Handle alive_;
  bool reading_ = false;
};

}  // namespace limpet::peer

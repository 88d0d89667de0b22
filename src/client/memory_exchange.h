// An Exchange without a transport: what the handler sends goes to a receiver in memory, on a later turn of
// the loop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/message.h"
#include "loop/loop.h"

namespace limpet::client {

class MemoryExchange final : public http::Exchange, public std::enable_shared_from_this<MemoryExchange> {
 public:
  struct Receiver {
    std::function<void(int status, const http::Headers&)> on_head;
    std::function<void(std::string_view bytes)> on_body;  // any number of times
    // Last call. Not whole: the server broke off or never answered.
    std::function<void(bool whole)> on_end;
  };
  MemoryExchange(loop::Loop& loop, http::Request request, Receiver receiver)
      : loop_(loop), request_(std::move(request)), receiver_(std::move(receiver)) {}
  ~MemoryExchange() override;

  // The receiver loses interest: the handler hears that the client is gone.
  void cancel();
  bool cancelled() const { return closed_; }

  const http::Request& request() const override { return request_; }
  void respond(http::Response response) override;
  void begin(int status, http::Headers headers) override;
  void write(std::string_view bytes) override;
  void end() override;
  size_t write_queue_size() const override { return queue_.size(); }
  void abort() override;
  void on_gone(std::function<void()> f) override { gone_ = std::move(f); }
  void on_drain(std::function<void()> f) override { drain_ = std::move(f); }
  Result<std::unique_ptr<loop::Stream>> take_over(std::string_view protocol, http::Headers headers) override;
  Result<std::unique_ptr<http::WebSocket>> upgrade(std::string_view subprotocol) override;

 private:
  void schedule();
  void deliver();

  loop::Loop& loop_;
  http::Request request_;
  Receiver receiver_;
  std::function<void()> gone_, drain_;
  int status_ = 0;
  http::Headers headers_;
  std::string queue_;
  bool scheduled_ = false, head_sent_ = false, ended_ = false, whole_ = false, closed_ = false;
};

}  // namespace limpet::client

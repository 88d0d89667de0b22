#include "client/memory_exchange.h"

#include <utility>

#include "loop/stream.h"

namespace limpet::client {

MemoryExchange::~MemoryExchange() {
  if (closed_ || ended_) return;
  // Dropped without an answer, as a transport would tell with a 500.
  closed_ = true;
  loop_.defer([end = std::move(receiver_.on_end)] {
    if (end) end(false);
  });
}

void MemoryExchange::cancel() {
  if (closed_) return;
  closed_ = true;
  Receiver dropped = std::exchange(receiver_, {});
  queue_.clear();
  if (!ended_) {
    if (auto f = std::move(gone_)) f();
  }
}

void MemoryExchange::respond(http::Response response) {
  if (answered || closed_) return;
  begin(response.status, std::move(response.headers));
  queue_ = std::move(response.body);
  end();
}

void MemoryExchange::begin(int status, http::Headers headers) {
  answered = true;
  status_ = status;
  headers_ = std::move(headers);
  schedule();
}

void MemoryExchange::write(std::string_view bytes) {
  if (closed_ || ended_) return;
  queue_.append(bytes);
  schedule();
}

void MemoryExchange::end() {
  if (closed_ || ended_) return;
  ended_ = whole_ = true;
  schedule();
}

void MemoryExchange::abort() {
  if (closed_ || ended_) return;
  ended_ = true;
  answered = true;
  schedule();
}

Result<std::unique_ptr<loop::Stream>> MemoryExchange::take_over(std::string_view, http::Headers) {
  return fail(Errc::unsupported, "no connection in process");
}

Result<std::unique_ptr<http::WebSocket>> MemoryExchange::upgrade(std::string_view) {
  return fail(Errc::unsupported, "no WebSocket in process");
}

void MemoryExchange::schedule() {
  if (scheduled_ || closed_) return;
  scheduled_ = true;
  loop_.defer([self = shared_from_this()] { self->deliver(); });
}

// Each callback may cancel.
void MemoryExchange::deliver() {
  scheduled_ = false;
  if (closed_) return;
  if (!head_sent_) {
    head_sent_ = true;
    if (auto f = receiver_.on_head) f(status_, headers_);  // a copy: it may cancel, which drops the receiver
  }
  if (closed_) return;
  std::string bytes = std::move(queue_);
  queue_.clear();
  if (auto f = receiver_.on_body; f && !bytes.empty()) f(bytes);
  if (closed_) return;
  if (!ended_) {
    if (auto f = drain_; f && !bytes.empty()) f();  // a copy: it may set another
    return;
  }
  if (!queue_.empty()) return schedule();
  closed_ = true;
  if (auto f = std::move(receiver_.on_end)) f(whole_);
}

}  // namespace limpet::client

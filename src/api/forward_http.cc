#include "api/forward_http.h"

namespace limpet::api {
namespace {

struct State {
  ForwardEvents events;
  bool sent = false;  // a byte of the request may have left
};

class HttpForwarding final : public Forwarding {
 public:
  explicit HttpForwarding(std::unique_ptr<http::Call> call) : call_(std::move(call)) {}
  void pause(bool paused) override { call_->pause(paused); }

 private:
  std::unique_ptr<http::Call> call_;
};

// The client has the same code for a connection that could not be made and for one that broke.
Result<> settled(Result<> end, bool sent) {
  if (end) return end;
  Error e = std::move(end).error();
  e.code = sent ? Errc::timeout : Errc::unavailable;
  return std::unexpected(std::move(e));
}

}  // namespace

std::unique_ptr<Forwarding> forward_over_http(http::Client& client, const http::Origin& leader,
                                              http::Request request, ForwardEvents events,
                                              int64_t answer_timeout_ms) {
  auto state = std::make_shared<State>(State{std::move(events)});
  http::ClientRequest r;
  r.origin = leader;
  r.method = std::move(request.method);
  r.target = std::move(request.target);
  r.headers = std::move(request.headers);
  r.body = std::move(request.body);
  r.first_byte_timeout_ms = answer_timeout_ms;
  r.idle_timeout_ms = 0;
  http::CallEvents e;
  e.on_sent = [state] { state->sent = true; };
  e.on_response = [state](const http::MessageHead& head) {
    state->events.on_head(head.status, head.headers);
  };
  e.on_body = [state](std::string_view bytes) { state->events.on_body(bytes); };
  e.on_end = [state](Result<> end) { state->events.on_end(settled(std::move(end), state->sent)); };
  return std::make_unique<HttpForwarding>(client.send(std::move(r), std::move(e)));
}

}  // namespace limpet::api

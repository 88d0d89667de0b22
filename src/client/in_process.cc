#include "client/in_process.h"

#include "client/lines.h"
#include "client/memory_exchange.h"

namespace limpet::client {
namespace {

class PendingExchange final : public Pending {
 public:
  explicit PendingExchange(std::weak_ptr<MemoryExchange> exchange) : exchange_(std::move(exchange)) {}
  ~PendingExchange() override {
    if (std::shared_ptr<MemoryExchange> e = exchange_.lock()) e->cancel();
  }

 private:
  std::weak_ptr<MemoryExchange> exchange_;
};

// A call that failed before it was made.
class PendingFailure final : public Pending {
 public:
  PendingFailure(loop::Loop& loop, std::function<void()> f) {
    loop.defer([alive = std::weak_ptr<int>(alive_), f = std::move(f)] {
      if (!alive.expired()) f();
    });
  }

 private:
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

InProcessClient::InProcessClient(loop::Loop& loop, http::Handler handler, std::string user,
                                 std::vector<std::string> groups, std::function<uint64_t()> term)
    : loop_(loop),
      handler_(std::move(handler)),
      user_(std::move(user)),
      groups_(std::move(groups)),
      term_(std::move(term)) {}

Result<http::Request> InProcessClient::request(Call call) const {
  http::Request r;
  r.method = std::move(call.method);
  r.target = call.path + (call.query.empty() ? "" : "?" + call.query);
  TRY(r.path, http::percent_decode(call.path));
  TRY(r.query, http::parse_query(call.query));
  r.headers.add("Accept", "application/json");
  r.headers.add("User-Agent", user_);
  if (term_) r.headers.add("X-Limpet-Term", std::to_string(term_()));
  if (!call.body.empty()) r.headers.add("Content-Type", std::move(call.content_type));
  r.body = std::move(call.body);
  r.peer.kind = http::Peer::Kind::in_process;
  r.peer.address = "in process";
  r.peer.user = user_;
  r.peer.groups = groups_;
  return r;
}

std::unique_ptr<Pending> InProcessClient::call(Call call, std::function<void(Result<Reply>)> done) {
  Result<http::Request> r = request(std::move(call));
  if (!r) {
    return std::make_unique<PendingFailure>(
        loop_, [done = std::move(done), e = r.error()] { done(std::unexpected(e)); });
  }
  auto reply = std::make_shared<Reply>();
  MemoryExchange::Receiver receiver;
  receiver.on_head = [reply](int status, const http::Headers&) { reply->status = status; };
  receiver.on_body = [reply](std::string_view bytes) { reply->body.append(bytes); };
  receiver.on_end = [reply, done = std::move(done)](bool whole) {
    if (whole) return done(std::move(*reply));
    done(fail(Errc::unavailable, "the API server broke off its answer"));
  };
  auto exchange = std::make_shared<MemoryExchange>(loop_, std::move(*r), std::move(receiver));
  auto pending = std::make_unique<PendingExchange>(exchange);
  handler_(std::move(exchange));
  return pending;
}

std::unique_ptr<Pending> InProcessClient::stream(Call call, Stream stream) {
  Result<http::Request> r = request(std::move(call));
  if (!r) {
    return std::make_unique<PendingFailure>(
        loop_, [f = std::move(stream.on_end), e = r.error()] { f(std::unexpected(e)); });
  }
  struct State {
    Stream stream;
    Lines lines{kMaxEventBytes};
    std::string refusal;  // of an answer of 400 and above: one Status, not events
    int status = 0;
    Result<> fit;
    std::weak_ptr<MemoryExchange> exchange;
  };
  auto state = std::make_shared<State>();
  state->stream = std::move(stream);
  MemoryExchange::Receiver receiver;
  receiver.on_head = [state](int status, const http::Headers&) { state->status = status; };
  receiver.on_body = [state](std::string_view bytes) {
    if (state->status >= 400) {
      state->refusal.append(bytes);
      return;
    }
    if (!state->fit) return;
    state->fit = state->lines.add(bytes, [&state](std::string_view line) {
      state->stream.on_event(line);
      // The receiver may have ended it in the middle of a batch.
      const std::shared_ptr<MemoryExchange> e = state->exchange.lock();
      return e && !e->cancelled();
    });
  };
  receiver.on_end = [state](bool whole) {
    const auto end = state->stream.on_end;
    if (state->status >= 400) return end(std::unexpected(Reply{state->status, state->refusal}.error()));
    if (!state->fit) return end(state->fit);
    if (!whole) return end(fail(Errc::unavailable, "the API server broke off the stream"));
    end({});
  };
  auto exchange = std::make_shared<MemoryExchange>(loop_, std::move(*r), std::move(receiver));
  state->exchange = exchange;
  auto pending = std::make_unique<PendingExchange>(exchange);
  handler_(std::move(exchange));
  return pending;
}

}  // namespace limpet::client

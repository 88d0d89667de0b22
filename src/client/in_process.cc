#include "client/in_process.h"

#include "base/json.h"
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

// A stream of JSON objects, one a line.
struct Lines {
  std::string rest;
  bool error = false;  // an answer of 400 and above: one Status, not events
  int status = 0;
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
  auto lines = std::make_shared<Lines>();
  auto exchange_alive = std::make_shared<std::weak_ptr<MemoryExchange>>();
  MemoryExchange::Receiver receiver;
  receiver.on_head = [lines](int status, const http::Headers&) {
    lines->status = status;
    lines->error = status >= 400;
  };
  auto on_event = std::make_shared<std::function<void(std::string_view)>>(std::move(stream.on_event));
  receiver.on_body = [lines, on_event, exchange_alive](std::string_view bytes) {
    lines->rest.append(bytes);
    if (lines->error) return;
    std::string text = std::move(lines->rest);
    lines->rest.clear();
    size_t at = 0;
    for (size_t nl; (nl = text.find('\n', at)) != std::string::npos; at = nl + 1) {
      std::shared_ptr<MemoryExchange> e = exchange_alive->lock();
      if (!e || e->cancelled()) return;  // the receiver ended it in the middle of a batch
      if (nl > at) (*on_event)(std::string_view(text).substr(at, nl - at));
    }
    lines->rest = text.substr(at);
  };
  receiver.on_end = [lines, f = std::move(stream.on_end)](bool whole) {
    if (lines->error) return f(std::unexpected(Reply{lines->status, lines->rest}.error()));
    if (!whole) return f(fail(Errc::unavailable, "the API server broke off the stream"));
    f({});
  };
  auto exchange = std::make_shared<MemoryExchange>(loop_, std::move(*r), std::move(receiver));
  *exchange_alive = exchange;
  auto pending = std::make_unique<PendingExchange>(exchange);
  handler_(std::move(exchange));
  return pending;
}

}  // namespace limpet::client

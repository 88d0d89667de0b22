#include "daemon/node_service.h"

#include "api/exec.h"
#include "daemon/local_api.h"
#include "daemon/node_wire.h"

namespace limpet::daemon {
namespace {

constexpr size_t max_sessions = 64;
constexpr size_t queue_bound = size_t{256} * 1024;  // of a log, that waits for the server to take it

void refuse(const http::ExchangePtr& exchange, const api::Status& status) {
  http::Response response = local_json(status.json());
  response.status = status.code;
  exchange->respond(std::move(response));
}

}  // namespace

http::ServerOptions node_service_options() {
  http::ServerOptions options;
  options.max_connections = max_sessions;
  options.max_body_bytes = 0;  // nothing here takes one
  options.max_bodies_bytes = 0;
  options.error_response = [](int status, std::string_view message) {
    return local_failure(status, status < 500 ? "BadRequest" : "InternalError", std::string(message));
  };
  return options;
}

// What is under way. Sessions end from inside their own callbacks, so that they go a turn later.
class NodeService::Sessions : public std::enable_shared_from_this<Sessions> {
 public:
  explicit Sessions(loop::Loop& loop) : loop_(loop) {}
  void keep(std::shared_ptr<api::Session> s) { all_.insert(std::move(s)); }
  void finish(api::Session* session) {
    for (auto it = all_.begin(); it != all_.end(); ++it) {
      if (it->get() != session) continue;
      loop_.defer([gone = std::move(all_.extract(it).value())] {});
      return;
    }
  }
  void stop() {
    for (const auto& s : std::set<std::shared_ptr<api::Session>>(all_)) s->stop();
  }
  size_t size() const { return all_.size(); }
  std::function<void(api::Session*)> finisher() {
    return [weak = weak_from_this()](api::Session* s) {
      if (auto self = weak.lock()) self->finish(s);
    };
  }

 private:
  loop::Loop& loop_;
  std::set<std::shared_ptr<api::Session>> all_;
};

class NodeService::Log final : public api::Session {
 public:
  Log(http::ExchangePtr exchange, std::function<void(api::Session*)> finish)
      : exchange_(std::move(exchange)), finish_(std::move(finish)) {}

  void start(api::NodeAccess& nodes, const NodeCall& call) {
    const auto with = [weak = weak_from_this(), this](auto f) {
      if (const auto keep = weak.lock(); keep && !over_) f();
    };
    exchange_->on_gone([this, with] { with([this] { done(); }); });
    api::LogSession::Events e;
    e.on_ready = [this, with] { with([this] { begin(); }); };
    e.on_data = [this, with](std::string_view bytes) { with([this, bytes] { data(bytes); }); };
    e.on_end = [this, with](Result<> r) { with([this, &r] { end(r); }); };
    session_ = nodes.logs(call.container, call.log, std::move(e));
    exchange_->on_drain([this, with] { with([this] { session_->pause(false); }); });
  }
  void stop() override {
    if (over_) return;
    exchange_->answered ? exchange_->abort()
                        : exchange_->respond(local_failure(500, "InternalError", "the device is stopping"));
    session_.reset();  // what it reads from may go with this turn
    done();
  }

 private:
  void begin() {
    if (exchange_->answered) return;
    http::Headers headers;
    headers.add("Content-Type", "text/plain");
    exchange_->begin(200, std::move(headers));
  }
  void data(std::string_view bytes) {
    begin();
    exchange_->write(bytes);
    if (!over_ && exchange_->write_queue_size() > queue_bound) session_->pause(true);
  }
  void end(const Result<>& r) {
    if (r) {
      begin();
      exchange_->end();
    } else if (exchange_->answered) {
      exchange_->abort();  // so that the other side knows that this was not all
    } else {
      refuse(exchange_, api::status::from_device(r.error()));
    }
    if (!over_) done();
  }
  void done() {
    over_ = true;
    finish_(this);
  }

  http::ExchangePtr exchange_;
  std::function<void(api::Session*)> finish_;
  std::unique_ptr<api::LogSession> session_;
  bool over_ = false;
};

NodeService::NodeService(loop::Loop& loop, api::NodeAccess& local)
    : sessions_(std::make_shared<Sessions>(loop)), local_(local) {}

NodeService::~NodeService() { stop(); }

void NodeService::stop() { sessions_->stop(); }

size_t NodeService::sessions() const { return sessions_->size(); }

void NodeService::handle(http::ExchangePtr exchange) {
  const http::Request& request = exchange->request();
  const api::Outcome<NodeCall> call = read_node_call(request.path, request.query);
  if (!call) return refuse(exchange, call.error());
  if (request.method != "GET") return refuse(exchange, api::status::method_not_allowed());
  serve(std::move(exchange), *call);
}

void NodeService::serve(http::ExchangePtr exchange, const NodeCall& call) {
  call.verb == NodeCall::Verb::logs ? serve_log(std::move(exchange), call) : serve_exec(exchange, call);
}

void NodeService::serve_log(http::ExchangePtr exchange, const NodeCall& call) {
  auto log = std::make_shared<Log>(std::move(exchange), sessions_->finisher());
  sessions_->keep(log);
  log->start(local_, call);
}

void NodeService::serve_exec(const http::ExchangePtr& exchange, const NodeCall& call) {
  const std::string protocol = api::exec_websocket_protocol(exchange->request().headers);
  if (protocol != node_exec_protocol) {
    return refuse(exchange, api::status::bad_request(std::string("a WebSocket with the subprotocol ") +
                                                     node_exec_protocol + " is required"));
  }
  auto socket = exchange->upgrade(protocol);
  if (!socket) return refuse(exchange, api::status::bad_request(socket.error().message));
  sessions_->keep(api::serve_exec(local_, std::move(*socket), call.container, call.exec, exec_end,
                                  sessions_->finisher()));
}

}  // namespace limpet::daemon

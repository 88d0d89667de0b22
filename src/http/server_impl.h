// The inside of the server: what connections, exchanges and the Server share. Not for other rooms.
#pragma once

#include <list>

#include "http/server.h"
#include "http/websocket.h"

namespace limpet::http {

class Connection;
class ServerExchange;
class TakenStream;

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(loop::Loop& l, ServerOptions o, Handler h)
      : loop(l),
        options(std::move(o)),
        handler(std::move(h)),
        sweep(l, "http-deadlines"),
        shutdown_timer(l, "http-stop") {}

  loop::Loop& loop;
  ServerOptions options;
  Handler handler;
  ServerCounters counters;
  std::list<std::shared_ptr<Connection>> connections;
  std::list<WebSocket*> websockets;
  std::list<TakenStream*> taken;  // connections that speak another protocol now
  loop::Timer sweep;              // one for the deadlines of all connections
  int64_t sweep_at_ms = 0;
  loop::Timer shutdown_timer;
  loop::Task shutdown_done;
  bool stopping = false;
  size_t bodies_bytes = 0;
  std::string date_line;
  int64_t date_second = -1;

  Response error_response(int status, std::string_view message) const;
  std::string_view date();  // "Date: ...\r\n" or nothing
  void want_sweep(int64_t at_ms);
  void run_sweep();
  void check_stopped();
};

// One connection: parser, deadlines, and at most one exchange. Kept alive by the server's list and by calls
// on the stack; closed() makes it inert.
//
//   idle -> receiving -> handling -> idle
//     \________\____________\__-> closed (also: upgraded, the stream lives on in a WebSocket or a
//                                  TakenStream)
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server::Impl& server, std::unique_ptr<loop::Stream> stream, Peer peer);
  ~Connection();
  void start();
  void close();                // now, unsent bytes are dropped
  void close_after_sending();  // politely
  void refuse(int status, std::string_view message);
  void check_deadline(int64_t now_ms);
  void stop();  // graceful: at once when idle, else after the exchange
  bool closed() const { return stream_ == nullptr; }
  int64_t next_deadline_ms() const {  // 0: none
    if (deadline_ms_ == 0 || stall_deadline_ms_ == 0) return deadline_ms_ + stall_deadline_ms_;
    return deadline_ms_ < stall_deadline_ms_ ? deadline_ms_ : stall_deadline_ms_;
  }
  const Peer& peer() const { return peer_; }

  // For the exchange.
  Server::Impl& server() { return server_; }
  size_t queued() const { return stream_ ? stream_->write_queue_size() : 0; }
  void send(std::string bytes);
  void exchange_done(bool keep_alive);
  void streaming_began();
  Result<std::unique_ptr<WebSocket>> upgrade(const Request& request, std::string_view subprotocol);
  Result<std::unique_ptr<loop::Stream>> take_over(const Request& request, std::string_view protocol,
                                                  const Headers& headers);
  bool will_close() const { return !keep_alive_ || stopping_ || (eof_ && !input_left()); }

  std::list<std::shared_ptr<Connection>>::iterator place;

 private:
  enum class Phase { idle, header, body, handling };

  bool input_left() const { return input_ != nullptr ? !input_->empty() : !unread_.empty(); }
  void received(std::string_view bytes);
  void ended();
  void drained();
  void resume();
  void parse(std::string_view& input);
  bool begin_request();
  bool begin_body(const MessageHead& head);
  bool take_body(std::string_view bytes);
  void handle();
  void set_phase(Phase phase);
  void set_deadline(int64_t after_ms);
  void note_stall();
  void forget_body();
  void leave();
  void forget();

  std::shared_ptr<Server::Impl> keep_;  // the Server may be destroyed by a handler
  Server::Impl& server_;
  std::unique_ptr<loop::Stream> stream_;
  Peer peer_;
  Parser parser_;
  Phase phase_ = Phase::idle;
  std::unique_ptr<Request> request_;  // while its body comes in
  ServerExchange* exchange_ = nullptr;
  std::string_view* input_ = nullptr;  // being parsed further up the stack
  std::string unread_;                 // input that waits for the exchange to end
  int64_t deadline_ms_ = 0;            // of the loop's clock; 0: none
  int64_t stall_deadline_ms_ = 0;
  int64_t stall_progress_ = 0;  // bytes sent when the stall deadline was set
  int64_t sent_ = 0;            // bytes given to the stream
  size_t body_charge_ = 0;      // counted in bodies_bytes
  bool keep_alive_ = true;      // of the request being handled
  bool eof_ = false;
  bool streaming_ = false;
  bool stopping_ = false;
};

// A connection given away by take_over(): delivers first what had been read already, counts as an open
// connection until it is destroyed.
class TakenStream final : public loop::Stream {
 public:
  TakenStream(std::shared_ptr<Server::Impl> server, std::unique_ptr<loop::Stream> stream,
              std::string received);
  ~TakenStream() override;
  void set_events(Events events) override;
  void read_start() override;
  void read_stop() override;
  void write(std::string bytes) override { stream_->write(std::move(bytes)); }
  void shutdown() override { stream_->shutdown(); }
  size_t write_queue_size() const override { return stream_->write_queue_size(); }
  std::string peer() const override { return stream_->peer(); }
  int fd() const override { return stream_->fd(); }
  void break_off();  // the server stops: an error for whoever took it

 private:
  void deliver();

  std::shared_ptr<Server::Impl> server_;
  std::list<TakenStream*>::iterator place_;
  std::unique_ptr<loop::Stream> stream_;
  std::string received_;  // not delivered yet
  bool reading_ = false;
  std::shared_ptr<Events> events_ = std::make_shared<Events>();
  std::shared_ptr<TakenStream*> alive_;  // callbacks may destroy this; null then
};

class ServerExchange final : public Exchange {
 public:
  ServerExchange(Connection* connection, Request request, int minor_version)
      : connection_(connection),
        request_(std::move(request)),
        minor_version_(minor_version),
        head_(request_.method == "HEAD") {}
  ~ServerExchange() override;

  const Request& request() const override { return request_; }
  void respond(Response response) override;
  void begin(int status, Headers headers) override;
  void write(std::string_view bytes) override;
  void end() override;
  size_t write_queue_size() const override;
  void abort() override;
  void on_gone(std::function<void()> f) override;
  void on_drain(std::function<void()> f) override { drain_ = std::move(f); }
  Result<std::unique_ptr<WebSocket>> upgrade(std::string_view subprotocol) override;

  Result<std::unique_ptr<loop::Stream>> take_over(std::string_view protocol, Headers headers) override;

  void connection_gone();  // the connection forgets the exchange, the handler hears of it
  void drained();
  bool wants_upgrade() const { return request_.headers.has("Upgrade"); }

 private:
  std::string head_text(int status, const Headers& headers, bool close) const;
  Connection* detach();

  Connection* connection_;  // null once answered or gone
  Request request_;
  int minor_version_;
  bool head_;  // HEAD: no body goes out
  bool streaming_ = false;
  bool chunked_ = false;
  bool close_ = false;
  bool lost_ = false;  // the client went before the answer ended
  std::function<void()> gone_;
  std::function<void()> drain_;
};

}  // namespace limpet::http

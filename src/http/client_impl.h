// The inside of the client. Not for other rooms.
#pragma once

#include "http/client.h"

namespace limpet::http {

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(loop::Loop& l, Dialer& d, ClientOptions o) : loop(l), dialer(d), options(std::move(o)) {}

  struct Idle {
    std::string key;
    std::unique_ptr<loop::Stream> stream;
    std::unique_ptr<loop::Timer> timer;
  };
  loop::Loop& loop;
  Dialer& dialer;
  ClientOptions options;
  std::list<Idle> idle;  // oldest first
  uint64_t drops = 0;    // a connection is kept only by a call that began since the last one

  std::unique_ptr<loop::Stream> take_idle(const std::string& key);
  void keep(const std::string& key, std::unique_ptr<loop::Stream> stream);
};

// One request and its answer. The Call that users hold points here; callbacks keep it alive.
//
//   dialing -> (proxy) -> (securing) -> waiting -> body -> over
class ClientCall : public std::enable_shared_from_this<ClientCall> {
 public:
  ClientCall(std::shared_ptr<Client::Impl> client, ClientRequest request, CallEvents events);
  void start();
  void cancel();
  void pause(bool paused);
  // Takes the connection after a 101, with the bytes behind it. From on_response only.
  std::unique_ptr<loop::Stream> take_stream(std::string* rest);

 private:
  enum class Phase { dialing, proxy, securing, waiting, body, over };

  void dial();
  void connected(Result<std::unique_ptr<loop::Stream>> stream);
  void ask_proxy();
  void secure();
  void send_request();
  void listen();
  void received(std::string_view bytes);
  void pump(std::string_view& input);
  bool step(std::string_view& input);
  bool take_head();
  void ended();
  void lost(Error error);
  void finish(Result<> result);
  void arm(int64_t timeout_ms, const char* what);
  int64_t idle_timeout() const { return request_.idle_timeout_ms.value_or(client_->options.idle_timeout_ms); }
  std::string place() const;
  // Of idle connections: one that was allowed to go further is not for who may not.
  std::string pool_key() const {
    return strf("%d ", static_cast<int>(request_.origin.reach)) + request_.origin.key();
  }
  bool through_proxy() const {
    return client_->options.proxy.has_value() && request_.origin.unix_path.empty();
  }

  std::shared_ptr<Client::Impl> client_;
  ClientRequest request_;
  std::shared_ptr<CallEvents> events_;
  Parser parser_;
  loop::Timer timer_;
  std::unique_ptr<Dialer::Dial> dial_;
  std::unique_ptr<loop::Stream> stream_;
  std::string unread_;
  std::string_view* input_ = nullptr;  // being parsed further up the stack
  Phase phase_ = Phase::dialing;
  bool reused_ = false;
  uint64_t drops_ = 0;     // of the client, when it began
  bool answered_ = false;  // a byte of the answer came
  bool paused_ = false;
  bool eof_ = false;
};

}  // namespace limpet::http

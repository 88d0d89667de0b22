// An API server with a real store in a temporary directory, spoken to through exchanges in memory.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/server.h"
#include "base/json.h"
#include "base/random.h"
#include "client/in_process.h"
#include "client/memory_exchange.h"
#include "loop/loop.h"
#include "store/store.h"

namespace limpet::api::test {

struct Answer {
  int status = 0;
  http::Headers headers;
  std::string body;
  bool whole = false, over = false;
  json::Cursor json() const { return json::Cursor(body); }
  std::string message() const { return json()["message"].str(); }
  std::string reason() const { return json()["reason"].str(); }
};

struct Ask {
  std::string method = "GET";
  std::string target;
  std::string body;
  std::string type = "application/json";
  std::string accept;
  std::string user = "admin";
  std::vector<std::string> groups = {"system:masters"};
  std::vector<http::Header> headers;
};

http::Request request_of(const Ask& ask);

// A request whose answer arrives bit by bit.
struct Open {
  std::shared_ptr<Answer> answer = std::make_shared<Answer>();
  std::shared_ptr<client::MemoryExchange> exchange;
  std::vector<std::string> lines() const;
};
Open open_at(loop::Loop& loop, ApiServer& api, const Ask& ask);

class Server {
 public:
  using Open = test::Open;
  explicit Server(NodeAccess* nodes = nullptr, std::function<void(api::Options&)> change = nullptr,
                  store::Options store_options = {});
  ~Server();

  Answer ask(Ask ask);
  Answer get(const std::string& target) { return ask({.target = target}); }
  Answer post(const std::string& target, const std::string& body) {
    return ask({.method = "POST", .target = target, .body = body});
  }
  Answer put(const std::string& target, const std::string& body) {
    return ask({.method = "PUT", .target = target, .body = body});
  }
  Answer remove(const std::string& target, const std::string& body = "") {
    return ask({.method = "DELETE", .target = target, .body = body});
  }
  Answer patch(const std::string& target, const std::string& type, const std::string& body) {
    return ask({.method = "PATCH", .target = target, .body = body, .type = type});
  }

  Open open(Ask ask);
  // Turns the loop until the condition holds; false when it never did (a bound on turns, not on time).
  bool until(const std::function<bool()>& condition);
  void turn();
  // Another API server over the same store.
  void restart(const std::function<void()>& meanwhile);
  // The store, too: a daemon that is stopped and started again.
  void reopen();
  // Of the next API server over the store.
  void set_ca(std::string pem) { options_.cluster_ca_pem = std::move(pem); }
  // For good: the API stays as it is.
  void close_store();

  ManualClock clock;
  SeededRandom random{7};
  loop::Loop loop;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<ApiServer> api;

 private:
  void start();
  std::string dir_;
  store::Options store_options_;
  api::Options options_;
  NodeAccess* nodes_;
  bool closed_ = false;
};

// A pod that validation accepts.
std::string pod(const std::string& name, const std::string& more_meta = "",
                const std::string& more_spec = "");
std::string config_map(const std::string& name, const std::string& data = R"({"k":"v"})");

}  // namespace limpet::api::test

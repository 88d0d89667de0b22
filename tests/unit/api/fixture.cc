#include "fixture.h"

#include <stdlib.h>

#include "base/tree.h"

namespace limpet::api::test {

Server::Server(NodeAccess* nodes, std::function<void(api::Options&)> change, store::Options store_options)
    : nodes_(nodes) {
  char path[] = "/dev/shm/limpet-api-XXXXXX";
  char fallback[] = "/tmp/limpet-api-XXXXXX";
  const char* made = mkdtemp(path);
  if (!made) made = mkdtemp(fallback);
  REQUIRE(made);
  dir_ = made;
  store_options.path = dir_ + "/db";
  store_options_ = store_options;
  auto opened = store::Store::open(loop, store_options_, clock);
  REQUIRE(opened);
  store = std::move(*opened);
  options_.cluster_ca_pem = "-----BEGIN CERTIFICATE-----\n";
  if (change) change(options_);
  start();
}

void Server::start() {
  api = std::make_unique<ApiServer>(loop, clock, random, *store, options_, nodes_);
  bool started = false;
  api->start([&](Result<> r) { started = r.has_value(); });
  REQUIRE(until([&] { return started; }));
}

void Server::restart(const std::function<void()>& meanwhile) {
  api->stop();
  api.reset();
  meanwhile();
  start();
}

void Server::reopen() {
  api->stop();
  close_store();
  api.reset();
  store.reset();
  auto opened = store::Store::open(loop, store_options_, clock);
  REQUIRE(opened);
  store = std::move(*opened);
  closed_ = false;
  start();
}

void Server::close_store() {
  closed_ = true;
  bool done = false;
  store->close([&] { done = true; });
  until([&] { return done; });
}

Server::~Server() {
  api->stop();
  if (!closed_) close_store();
  api.reset();
  store.reset();
  CHECK(remove_tree(dir_).has_value());
}

void Server::turn() {
  // The timer bounds the turn when nothing else happens; callbacks in between end it earlier.
  loop::Timer wake(loop, "test");
  wake.start(1, [this] { loop.stop(); });
  loop.run();
}

bool Server::until(const std::function<bool()>& condition) {
  for (int i = 0; i < 20000; ++i) {
    if (condition()) return true;
    turn();
  }
  return condition();
}

http::Request request_of(const Ask& ask) {
  http::Request r;
  r.method = ask.method;
  r.target = ask.target;
  size_t mark = ask.target.find('?');
  auto path = http::percent_decode(ask.target.substr(0, mark));
  REQUIRE(path);
  r.path = *path;
  if (mark != std::string::npos) {
    auto query = http::parse_query(std::string_view(ask.target).substr(mark + 1));
    REQUIRE(query);
    r.query = std::move(*query);
  }
  if (!ask.accept.empty()) r.headers.add("Accept", ask.accept);
  if (!ask.body.empty() && !ask.type.empty()) r.headers.add("Content-Type", ask.type);
  for (const http::Header& h : ask.headers) r.headers.add(h.name, h.value);
  r.body = ask.body;
  r.peer.kind = ask.user.empty() ? http::Peer::Kind::tls : http::Peer::Kind::in_process;
  r.peer.user = ask.user;
  r.peer.groups = ask.groups;
  return r;
}

Open open_at(loop::Loop& loop, ApiServer& api, const Ask& ask) {
  Open o;
  std::shared_ptr<Answer> a = o.answer;
  client::MemoryExchange::Receiver receiver;
  receiver.on_head = [a](int status, const http::Headers& h) {
    a->status = status;
    a->headers = h;
  };
  receiver.on_body = [a](std::string_view bytes) { a->body.append(bytes); };
  receiver.on_end = [a](bool whole) {
    a->whole = whole;
    a->over = true;
  };
  o.exchange = std::make_shared<client::MemoryExchange>(loop, request_of(ask), std::move(receiver));
  api.handler()(o.exchange);
  return o;
}

Open Server::open(Ask ask) { return open_at(loop, *api, ask); }

Answer Server::ask(Ask ask) {
  std::shared_ptr<Answer> answer;
  {
    Open o = open(std::move(ask));
    answer = o.answer;  // the exchange lives as long as the server needs it
  }
  REQUIRE(until([&] { return answer->over; }));
  return std::move(*answer);
}

std::vector<std::string> Open::lines() const {
  std::vector<std::string> out;
  size_t at = 0;
  for (size_t nl; (nl = answer->body.find('\n', at)) != std::string::npos; at = nl + 1) {
    out.push_back(answer->body.substr(at, nl - at));
  }
  return out;
}

std::string pod(const std::string& name, const std::string& more_meta, const std::string& more_spec) {
  return R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + "\"" + more_meta +
         R"(},"spec":{"containers":[{"name":"app","image":"busybox:1"}])" + more_spec + "}}";
}

std::string config_map(const std::string& name, const std::string& data) {
  return R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")" + name + R"("},"data":)" + data +
         "}";
}

}  // namespace limpet::api::test

// A server and raw clients on one loop: the clients are plain streams, so that every byte is the test's own.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "http/server.h"
#include "loop/stream.h"

struct RawClient {
  std::unique_ptr<limpet::loop::Stream> stream;
  std::string got;
  bool eof = false;
  bool error = false;

  void listen() {
    stream->set_events({.on_read = [this](std::string_view s) { got += s; },
                        .on_eof = [this] { eof = true; },
                        .on_error = [this](limpet::Error) { error = true; }});
    stream->read_start();
  }
  bool over() const { return eof || error; }
};

struct ServerFixture {
  limpet::loop::Loop loop;
  std::unique_ptr<limpet::http::Server> server;
  limpet::http::Peer peer;

  explicit ServerFixture(limpet::http::Handler handler, limpet::http::ServerOptions options = {}) {
    server = std::make_unique<limpet::http::Server>(loop, std::move(options), std::move(handler));
  }
  ~ServerFixture() {
    server.reset();
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10000));
  }

  std::unique_ptr<RawClient> connect() {
    auto pair = limpet::loop::stream_pair(loop);
    REQUIRE(pair);
    auto client = std::make_unique<RawClient>();
    client->stream = std::move(pair->first);
    client->listen();
    server->serve(std::move(pair->second), peer);
    return client;
  }
  bool until(const std::function<bool()>& done) { return loop.run_until(done, 10000); }
  void spin(int64_t ms = 20) {
    loop.run_until([] { return false; }, ms);
  }
};

inline std::string answer(std::string_view body, std::string_view extra = "") {
  return limpet::strf("HTTP/1.1 200 OK\r\n%.*sContent-Length: %zu\r\n\r\n%.*s",
                      static_cast<int>(extra.size()), extra.data(), body.size(),
                      static_cast<int>(body.size()), body.data());
}

// The API from a device that is no server: HTTPS to one of the cluster's servers, another one when it fails.
//
// Which server: servers.h. One is given up when a connection to it fails, an answer does not come in time, or
// it says 503 (it has no leader, is starting, or is full). What happens to a call then:
//   - It was certainly not received (no connection, or 503 with Retry-After): another server is asked, each
//     at most once.
//   - It is a GET: likewise.
//   - Else nobody knows whether it was done: Errc::timeout.
// A stream (a watch) whose head did not come goes to another server as well; later its end is told, and who
// asked goes on from where it was. When answers of a server time out, or it is no longer among the servers,
// its streams end too: what hangs or was cut off from us sends no events either.
//
// All streams of a server share one connection (bundle.h); a server that has no such thing gets one for each.
//
// How a dead link is noticed: the Dialer asks the kernel to probe idle connections (tls_dialer.h in the
// daemon: 35 s on a LAN), which finds a peer that is gone but not a process that hangs; calls, of which a
// device makes one every ten seconds for its lease, have answer_ms.
//
// The Dialer gives TLS with the device's certificate; it, the loop and the Random outlive the client and all
// that is pending. Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/client.h"
#include "client/servers.h"
#include "http/client.h"
#include "loop/loop.h"

namespace limpet::client {

struct RemoteOptions {
  int64_t connect_ms = 5'000;  // connection and TLS together
  int64_t answer_ms = 15'000;  // from the request to its answer's head, and between two pieces of a body
  size_t max_answer_bytes = size_t{32} * 1024 * 1024;
  size_t max_event_bytes = size_t{4} * 1024 * 1024;  // one event of a watch; it is held whole
  int list_page = 100;                               // objects of a list at once
  std::string user_agent = "limpetd";
};

class RemoteClient final : public Client {
 public:
  RemoteClient(loop::Loop& loop, http::Dialer& dialer, Random& random, RemoteOptions options = {});
  ~RemoteClient() override;
  RemoteClient(const RemoteClient&) = delete;

  // The servers to use from now on: those of the configuration, and those that the cluster told of (its
  // roll).
  void set_servers(const std::vector<Server>& configured, const std::vector<Server>& learned);
  // The one in use, empty when none answered lately; for status and logs.
  std::string server() const;
  // Why the last one was given up; empty once an answer came again.
  const std::string& last_error() const;
  // Why one was not believed, or did not take the device's certificate; empty once an answer came again.
  const std::string& shut_out() const;
  // Called when that begins.
  void on_shut_out(std::function<void()> f);
  // New connections from now on: the device's certificate was renewed.
  void reconnect();

  [[nodiscard]] std::unique_ptr<Pending> call(Call call, std::function<void(Result<Reply>)> done) override;
  [[nodiscard]] std::unique_ptr<Pending> stream(Call call, Stream stream) override;
  int list_page() const override;

 private:
  class Shared;
  class Asking;
  class Calling;
  class Streaming;
  class Handle;
  std::shared_ptr<Shared> shared_;
};

}  // namespace limpet::client

#include "http/server.h"

#include <algorithm>
#include <ctime>

#include "http/server_impl.h"

namespace limpet::http {

namespace {
// Deadlines are checked this coarsely at most, so that a busy server does not wake for each.
constexpr int64_t sweep_grain_ms = 250;
}  // namespace

Response Server::Impl::error_response(int status, std::string_view message) const {
  if (options.error_response) {
    Response response = options.error_response(status, message);
    response.status = status;
    return response;
  }
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body.assign(message).append("\n");
  return response;
}

std::string_view Server::Impl::date() {
  if (options.clock == nullptr) return {};
  const int64_t second = options.clock->wall().seconds;
  if (second != date_second) {
    date_second = second;
    const time_t t = static_cast<time_t>(second);
    tm parts{};
    gmtime_r(&t, &parts);
    constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    date_line = strf("Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[parts.tm_wday], parts.tm_mday,
                     months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  }
  return date_line;
}

void Server::Impl::want_sweep(int64_t at_ms) {
  if (sweep_at_ms != 0 && sweep_at_ms <= at_ms) return;
  sweep_at_ms = at_ms;
  sweep.start(std::max(at_ms - loop.now_ms(), sweep_grain_ms), [this] { run_sweep(); });
}

void Server::Impl::run_sweep() {
  sweep_at_ms = 0;
  const int64_t now = loop.now_ms();
  std::vector<std::shared_ptr<Connection>> all(connections.begin(),
                                               connections.end());  // closing changes the list
  for (const auto& connection : all) connection->check_deadline(now);
  int64_t next = 0;
  for (const auto& connection : connections) {
    const int64_t at = connection->next_deadline_ms();
    if (at != 0 && (next == 0 || at < next)) next = at;
  }
  if (next != 0) want_sweep(next);
}

void Server::Impl::check_stopped() {
  if (!stopping || !connections.empty() || !websockets.empty() || !taken.empty() || !shutdown_done) return;
  shutdown_timer.stop();
  loop.defer(std::exchange(shutdown_done, nullptr));
}

Server::Server(loop::Loop& loop, ServerOptions options, Handler handler)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(handler))) {}

Server::~Server() {
  impl_->stopping = true;
  impl_->shutdown_done = nullptr;
  impl_->shutdown_timer.stop();
  while (!impl_->connections.empty()) impl_->connections.front()->close();
  impl_->sweep.stop();
}

void Server::serve(std::unique_ptr<loop::Stream> stream, Peer peer) {
  Impl& s = *impl_;
  if (s.stopping) return;
  const bool over = full();
  ++s.counters.open_connections;
  auto connection = std::make_shared<Connection>(s, std::move(stream), std::move(peer));
  connection->place = s.connections.insert(s.connections.end(), connection);
  if (over) {
    ++s.counters.refused;
    connection->refuse(503, strf("too many connections (the limit is %zu)", s.options.max_connections));
    return;
  }
  ++s.counters.accepted;
  connection->start();
}

bool Server::full() const {
  return impl_->counters.open_connections >= static_cast<int64_t>(impl_->options.max_connections);
}

void Server::shutdown(int64_t deadline_ms, loop::Task done) {
  Impl& s = *impl_;
  s.stopping = true;
  s.shutdown_done = std::move(done);
  std::vector<std::shared_ptr<Connection>> all(s.connections.begin(), s.connections.end());
  for (const auto& connection : all) connection->stop();
  const std::list<WebSocket*> sockets = s.websockets;
  for (WebSocket* socket : sockets) {
    // A close handler may have destroyed others of the copy.
    if (std::find(s.websockets.begin(), s.websockets.end(), socket) != s.websockets.end()) {
      socket->close(1001, "the server is stopping");
    }
  }
  const std::list<TakenStream*> taken = s.taken;
  for (TakenStream* stream : taken) {
    if (std::find(s.taken.begin(), s.taken.end(), stream) != s.taken.end()) stream->break_off();
  }
  s.shutdown_timer.start(deadline_ms, [&s] {
    while (!s.connections.empty()) s.connections.front()->close();
    if (s.shutdown_done) s.loop.defer(std::exchange(s.shutdown_done, nullptr));
  });
  s.check_stopped();
}

const ServerCounters& Server::counters() const { return impl_->counters; }

}  // namespace limpet::http

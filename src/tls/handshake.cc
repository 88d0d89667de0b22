// Handshakes on the loop: bytes in and out of the connection below, steps handed to the engine, deadlines.
#include <algorithm>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/mbed.h"
#include "loop/loop.h"
#include "tls/context.h"
#include "tls/engine.h"
#include "tls/session.h"
#include "tls/tls.h"

namespace limpet::tls {

namespace {

// More than any flight of a handshake; what comes beyond it waits in the kernel.
constexpr size_t max_arrived = 64 * 1024;
// A client's first flight is one record.
constexpr size_t max_first_flight = 16 * 1024 + 512;

// The wording that people know from Go's servers.
constexpr const char* plain_answer =
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

bool looks_like_http(std::string_view first) {
  for (std::string_view method : {"GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS "}) {
    if (first.starts_with(method)) return true;
  }
  return false;
}

class Core final : public Silent, public std::enable_shared_from_this<Core> {
 public:
  Core(Engine::Impl& engine, std::shared_ptr<Config> config, std::unique_ptr<loop::Stream> below,
       std::string peer, Done done)
      : engine_(engine),
        config_(std::move(config)),
        below_(std::move(below)),
        peer_(std::move(peer)),
        done_(std::move(done)),
        deadline_(engine.loop, "tls.handshake"),
        silence_(engine.loop, "tls.silence") {}
  ~Core() { leave(); }
  Core(const Core&) = delete;

  void start() {
    if (config_->is_server && !enter()) {
      below_.reset();
      return fail_soon({Errc::exhausted, about() + ": too many connections are in the handshake", 0});
    }
    later(deadline_, deadline_ms(), [this] { expired(); });
    loop::Stream::Events events;
    events.on_read = [this](std::string_view bytes) { arrived(bytes); };
    events.on_eof = [this] { ended(); };
    events.on_error = [this](const Error& error) { broken(error); };
    below_->set_events(std::move(events));
    below_->read_start();
    if (config_->is_server) return await_peer();  // a server speaks when it is spoken to
    engine_.loop.defer([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->step();
    });
  }

  // The descriptor is free when this returns; the callback comes later.
  void give_way() override {
    leave();
    below_.reset();
    fail_soon({Errc::exhausted, about() + ": it said nothing and gave way to a newer connection", 0});
  }

 private:
  std::string about() const { return "TLS handshake with " + peer_; }

  template <class F>
  void later(loop::Timer& timer, int64_t ms, F f) {
    timer.start(ms, [weak = weak_from_this(), f] {
      if (auto self = weak.lock()) f();
    });
  }

  bool enter() {
    if (!engine_.admit()) return false;
    entered_ = true;
    engine_.open++;
    place_ = engine_.silent.insert(engine_.silent.end(), this);
    silent_ = true;
    return true;
  }

  void heard() {
    if (std::exchange(silent_, false)) engine_.silent.erase(place_);
  }

  void leave() {
    heard();
    if (std::exchange(entered_, false)) engine_.open--;
    if (std::exchange(holds_session_, false)) engine_.session_ended();
  }

  void arrived(std::string_view bytes) {
    heard();
    silence_.stop();
    if (config_->is_server && !begun_) {
      speaks_http_ = looks_like_http(bytes);
      if (speaks_http_) bytes = bytes.substr(0, max_first_flight);
      if (bytes.size() > max_first_flight)
        return fail_with({Errc::invalid_argument, about() + ": what it sent is not TLS", 0});
      below_->read_stop();  // what follows before our answer waits in the kernel
    }
    arrived_ += bytes;
    if (arrived_.size() >= max_arrived) below_->read_stop();
    if (!running_) step();
  }

  void ended() {
    ended_ = true;
    if (!running_) fail_with(closed());
  }

  void broken(const Error& error) {
    Error with = error;
    fail_with(std::move(with).with(about()));
  }

  void expired() {
    fail_with({Errc::timeout,
               strf("%s took more than %lld ms", about().c_str(), static_cast<long long>(deadline_ms())), 0});
  }

  int64_t deadline_ms() const {
    return config_->deadline_ms > 0 ? config_->deadline_ms : engine_.limits.deadline_ms;
  }
  // One that has shown that it speaks TLS may be slow; one that says nothing may be anything.
  int64_t silence_ms() const {
    return begun_ && config_->silence_ms > 0 ? config_->silence_ms : engine_.limits.silence_ms;
  }

  // Clients wait for as long as the deadline allows: the server may have others to serve first.
  void await_peer() {
    if (config_->is_server) await_peer_for(silence_ms());
  }

  // Others may come to wait at any time of it.
  void await_peer_for(int64_t left_ms) {
    const int64_t step_ms = std::min(engine_.limits.yield_ms, left_ms);
    later(silence_, step_ms, [this, left_ms = left_ms - step_ms] {
      if (begun_ && engine_.starved()) {
        return fail_with(
            {Errc::exhausted, about() + ": it keeps us waiting, and others wait for its place", 0});
      }
      if (left_ms <= 0) return said_nothing();
      await_peer_for(left_ms);
    });
  }

  void said_nothing() {
    fail_with({Errc::timeout,
               strf("%s: it said nothing for %lld ms", about().c_str(), static_cast<long long>(silence_ms())),
               0});
  }

  Error closed() const { return {Errc::unavailable, about() + ": the connection was closed", 0}; }

  void step() {
    if (!done_) return;
    auto self = shared_from_this();
    running_ = true;
    Job job;
    job.config = config_;
    job.first = !std::exchange(begun_, true);
    job.owner = weak_from_this();
    job.session = [this] { return prepared(); };
    job.done = [this](Session::Step result) { stepped(result); };
    if (!engine_.submit(std::move(job))) {
      fail_with({Errc::exhausted, about() + ": too many handshakes are waiting", 0});
    }
  }

  // The session with what has arrived, when a step is about to run.
  std::shared_ptr<Session> prepared() {
    if (!done_) return nullptr;
    // Whoever lost patience while it waited here has dialled anew: its steps would keep that one waiting,
    // too.
    if (!session_ && config_->is_server && arrived_.starts_with('\x16') && loop::peer_has_closed(*below_)) {
      fail_soon(closed());
      return nullptr;
    }
    if (!session_) {
      session_ = engine_.new_session(config_);
      if (config_->is_server) {
        engine_.sessions++;
        holds_session_ = true;
      }
      Result<> set_up = session_->set_up(peer_);
      if (LIMPET_FAILPOINT("tls.session")) set_up = fail(Errc::exhausted, "TLS: failpoint tls.session");
      if (!set_up) {
        fail_soon(std::move(set_up).error());
        return nullptr;
      }
    }
    session_->in += arrived_;
    arrived_ = {};
    return session_;
  }

  // The engine holds a reference to this object during the call.
  void stepped(Session::Step result) {
    if (!done_) return;
    running_ = false;
    if (result == Session::Step::failed && speaks_http_) session_->out = plain_answer;
    if (!session_->out.empty()) below_->write(std::exchange(session_->out, {}));
    if (result == Session::Step::failed) return fail_with(session_->error);
    if (result == Session::Step::done) return succeed();
    if (!arrived_.empty()) return step();
    if (ended_) return fail_with(closed());
    await_peer();
    below_->read_start();
  }

  void fail_soon(Error error) {
    engine_.loop.defer([weak = weak_from_this(), error = std::move(error)] {
      if (auto self = weak.lock()) self->fail_with(error);
    });
  }

  void fail_with(Error error) {
    if (!done_) return;
    auto self = shared_from_this();
    engine_.counts.handshakes_failed++;
    if (!config_->is_server) config_->sessions.forget(peer_);
    deadline_.stop();
    silence_.stop();
    below_.reset();
    session_.reset();
    leave();
    Done done = std::exchange(done_, nullptr);
    done(std::unexpected(std::move(error)));
  }

  void succeed() {
    auto self = shared_from_this();
    deadline_.stop();
    silence_.stop();
    engine_.counts.handshakes_ok++;
    if (session_->resumed) engine_.counts.handshakes_resumed++;
    if (!config_->is_server && config_->trust != Trust::anyone) config_->sessions.keep(peer_, session_->ssl);
    below_->read_stop();
    below_->set_events({});
    session_->in += arrived_;  // application data that came along
    session_->in_ended = ended_;
    leave();
    std::unique_ptr<Stream> stream = established(engine_, std::move(session_), std::move(below_));
    Done done = std::exchange(done_, nullptr);
    done(std::move(stream));
  }

  Engine::Impl& engine_;
  std::shared_ptr<Config> config_;
  std::shared_ptr<Session> session_;  // from the first step on
  std::unique_ptr<loop::Stream> below_;
  std::string peer_;
  Done done_;  // empty once called
  loop::Timer deadline_;
  loop::Timer silence_;  // how long the peer has kept us waiting
  std::string arrived_;
  std::list<Silent*>::iterator place_;  // while silent_
  bool entered_ = false;                // counted in engine_.open
  bool silent_ = false;
  bool holds_session_ = false;  // counted in engine_.sessions
  bool running_ = false;        // a step waits for the pool or runs there: the session is not ours
  bool begun_ = false;
  bool ended_ = false;
  bool speaks_http_ = false;
};

class HandshakeImpl final : public Handshake {
 public:
  explicit HandshakeImpl(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~HandshakeImpl() override = default;

 private:
  std::shared_ptr<Core> core_;
};

std::unique_ptr<Handshake> begin(Engine::Impl& engine, const std::shared_ptr<Config>& config,
                                 std::unique_ptr<loop::Stream> stream, const std::string& peer, Done done) {
  LIMPET_ASSERT(stream != nullptr && done);
  auto core = std::make_shared<Core>(engine, config, std::move(stream), peer, std::move(done));
  core->start();
  return std::make_unique<HandshakeImpl>(std::move(core));
}

}  // namespace

std::unique_ptr<Handshake> wrap_server(ServerContext& context, std::unique_ptr<loop::Stream> stream,
                                       Done done) {
  std::string peer = stream->peer();
  return begin(context.impl().engine, context.impl().config, std::move(stream), peer, std::move(done));
}

std::unique_ptr<Handshake> wrap_client(ClientContext& context, std::unique_ptr<loop::Stream> stream,
                                       const std::string& server_name, Done done) {
  return begin(context.impl().engine, context.impl().config, std::move(stream), server_name, std::move(done));
}

}  // namespace limpet::tls

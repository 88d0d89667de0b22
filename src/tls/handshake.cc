// Handshakes on the loop: bytes in and out of the connection below, steps handed to the engine, one deadline.
#include "base/assert.h"
#include "loop/loop.h"
#include "tls/context.h"
#include "tls/engine.h"
#include "tls/mbed.h"
#include "tls/session.h"
#include "tls/tls.h"

namespace limpet::tls {

namespace {

// More than any flight of a handshake; what comes beyond it waits in the kernel.
constexpr size_t max_arrived = 64 * 1024;

// The wording that people know from Go's servers.
constexpr const char* plain_answer =
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

bool looks_like_http(std::string_view first) {
  for (std::string_view method : {"GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS "}) {
    if (first.starts_with(method)) return true;
  }
  return false;
}

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Engine::Impl& engine, std::shared_ptr<Session> session, std::unique_ptr<loop::Stream> below,
       std::string peer, Done done)
      : engine_(engine),
        session_(std::move(session)),
        below_(std::move(below)),
        peer_(std::move(peer)),
        done_(std::move(done)),
        deadline_(engine.loop, "tls.handshake") {}

  void start(Result<> set_up) {
    std::weak_ptr<Core> weak = weak_from_this();
    if (!set_up) {
      engine_.loop.defer([weak, error = std::move(set_up).error()] {
        if (auto self = weak.lock()) self->fail_with(error);
      });
      return;
    }
    deadline_.start(engine_.limits.deadline_ms, [weak] {
      if (auto self = weak.lock()) self->expired();
    });
    loop::Stream::Events events;
    events.on_read = [this](std::string_view bytes) { arrived(bytes); };
    events.on_eof = [this] { ended(); };
    events.on_error = [this](const Error& error) { broken(error); };
    below_->set_events(std::move(events));
    below_->read_start();
    if (session_->config->is_server) return;  // a server speaks when it is spoken to
    engine_.loop.defer([weak] {
      if (auto self = weak.lock()) self->step();
    });
  }

 private:
  void arrived(std::string_view bytes) {
    if (session_->config->is_server && !begun_) speaks_http_ = looks_like_http(bytes);
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
    fail_with(std::move(with).with("TLS handshake with " + peer_));
  }

  void expired() {
    fail_with({Errc::timeout,
               strf("TLS handshake with %s took more than %lld ms", peer_.c_str(),
                    static_cast<long long>(engine_.limits.deadline_ms)),
               0});
  }

  Error closed() const {
    return {Errc::unavailable, "TLS handshake with " + peer_ + ": the connection was closed", 0};
  }

  void step() {
    if (!done_) return;
    auto self = shared_from_this();
    session_->in += arrived_;
    arrived_.clear();
    running_ = true;
    Job job{session_, weak_from_this(), [this](Session::Step result) { stepped(result); }};
    bool first = !std::exchange(begun_, true);
    if (!engine_.submit(std::move(job), first)) {
      fail_with({Errc::exhausted, "TLS handshake with " + peer_ + ": too many handshakes are waiting", 0});
    }
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
    below_->read_start();
  }

  void fail_with(Error error) {
    if (!done_) return;
    auto self = shared_from_this();
    engine_.counts.handshakes_failed++;
    if (!session_->config->is_server) session_->config->sessions.forget(peer_);
    deadline_.stop();
    below_.reset();
    Done done = std::exchange(done_, nullptr);
    done(std::unexpected(std::move(error)));
  }

  void succeed() {
    auto self = shared_from_this();
    deadline_.stop();
    engine_.counts.handshakes_ok++;
    if (session_->resumed) engine_.counts.handshakes_resumed++;
    const Config& config = *session_->config;
    if (!config.is_server && config.trust != Trust::anyone)
      session_->config->sessions.keep(peer_, session_->ssl);
    below_->read_stop();
    below_->set_events({});
    session_->in += arrived_;  // application data that came along
    session_->in_ended = ended_;
    std::unique_ptr<Stream> stream = established(engine_, std::move(session_), std::move(below_));
    Done done = std::exchange(done_, nullptr);
    done(std::move(stream));
  }

  Engine::Impl& engine_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<loop::Stream> below_;
  std::string peer_;
  Done done_;  // empty once called
  loop::Timer deadline_;
  std::string arrived_;
  bool running_ = false;  // a step waits for the pool or runs there: the session is not ours
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
  std::shared_ptr<Session> session = engine.new_session(config);
  Result<> set_up = session->set_up(peer);
  auto core = std::make_shared<Core>(engine, std::move(session), std::move(stream), peer, std::move(done));
  core->start(std::move(set_up));
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

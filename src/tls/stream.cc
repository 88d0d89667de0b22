// An established TLS connection as a loop::Stream: records are made and opened on the loop's thread.
//
// Writes wait as plain text and become records only while the connection below takes them (a window of
// ciphertext), so that a long answer is neither encrypted in one go nor held twice.
#include <algorithm>
#include <deque>

#include "base/assert.h"
#include "base/mbed.h"
#include "tls/context.h"
#include "tls/engine.h"
#include "tls/session.h"
#include "tls/tls.h"

namespace limpet::tls {

namespace {

constexpr size_t record_size = 16 * 1024;
constexpr size_t window = 64 * 1024;       // ciphertext waiting below, beyond which no more is made
constexpr size_t turn_limit = 256 * 1024;  // plain text encrypted or opened in one turn of the loop

class StreamImpl final : public Stream {
 public:
  StreamImpl(Engine::Impl& engine, std::shared_ptr<Session> session, std::unique_ptr<loop::Stream> below)
      : loop_(engine.loop), session_(std::move(session)), below_(std::move(below)) {
    loop::Stream::Events events;
    events.on_read = [this](std::string_view bytes) { on_below_read(bytes); };
    events.on_eof = [this] {
      session_->in_ended = true;
      open_records();
    };
    events.on_error = [this](Error error) { die(std::move(error)); };
    events.on_drain = [this] { seal_records(); };
    below_->set_events(std::move(events));
  }

  // Without shutdown() before, the peer sees a cut: what it got may not be all.
  ~StreamImpl() override { *alive_ = false; }

  void set_events(Events events) override { events_ = std::make_shared<Events>(std::move(events)); }

  void read_start() override {
    if (dead_ || eof_ || reading_) return;
    reading_ = true;
    if (session_->in.empty() && !session_->in_ended && mbedtls_ssl_check_pending(&session_->ssl) == 0) {
      below_->read_start();
      return;
    }
    later(open_soon_, [this] { open_records(); });  // what came before, without calling back from in here
  }

  void read_stop() override {
    if (!reading_) return;
    reading_ = false;
    below_->read_stop();
  }

  void write(std::string bytes) override {
    if (dead_ || shut_ || bytes.empty()) return;
    pending_size_ += bytes.size();
    pending_.push_back(std::move(bytes));
    if (!sealing_ && !seal_soon_) seal();
    owes_drain_ = write_queue_size() != 0;
  }

  void shutdown() override {
    if (dead_ || shut_) return;
    shut_ = true;
    if (pending_.empty()) say_goodbye();
  }

  size_t write_queue_size() const override { return pending_size_ + below_->write_queue_size(); }
  std::string peer() const override { return below_->peer(); }
  int fd() const override { return below_->fd(); }
  const std::string& peer_certificate() const override { return session_->peer_certificate; }
  std::string_view protocol() const override { return session_->protocol; }
  std::string_view alpn() const override { return session_->alpn; }
  bool resumed() const override { return session_->resumed; }

 private:
  // Runs f in the next turn, once however often it is asked for, unless this object is gone by then.
  template <class F>
  void later(bool& asked, F f) {
    if (std::exchange(asked, true)) return;
    loop_.defer([alive = alive_, &asked, f] {
      if (!*alive) return;
      asked = false;
      f();
    });
  }

  void on_below_read(std::string_view bytes) {
    std::shared_ptr<Session> session = session_;  // we may be gone after a callback
    if (!session->in.empty() || opening_) {
      session->in.append(session->in_borrowed).append(bytes);
      session->in_borrowed = {};
      return open_records();
    }
    session->in_borrowed = bytes;
    open_records();
    session->in.append(session->in_borrowed);  // a record cut in two, or what read_stop() left
    session->in_borrowed = {};
  }

  void open_records();
  void after_opening();
  void end_of_file();
  void seal();
  void seal_records();
  void say_goodbye();
  void flush();
  void fail_later(Error error);
  void die(Error error);

  loop::Loop& loop_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<loop::Stream> below_;
  std::shared_ptr<Events> events_ =
      std::make_shared<Events>();  // shared: a callback may replace it or destroy us
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::deque<std::string> pending_;  // plain text
  size_t pending_at_ = 0;            // of the first one, already sealed
  size_t pending_size_ = 0;
  bool reading_ = false;
  bool opening_ = false;  // open_records() is on the stack
  bool sealing_ = false;
  bool open_soon_ = false;
  bool seal_soon_ = false;
  bool eof_ = false;
  bool dead_ = false;
  bool shut_ = false;
  bool owes_drain_ = false;
};

// Opens what has arrived and hands it on, as long as reading is on.
void StreamImpl::open_records() {
  if (opening_) return;
  std::shared_ptr<bool> alive = alive_;
  std::shared_ptr<Session> session = session_;
  unsigned char plain[record_size];
  size_t opened = 0;
  opening_ = true;
  while (reading_ && !dead_ && !eof_) {
    if (opened >= turn_limit) {
      later(open_soon_, [this] { open_records(); });
      break;
    }
    int n = mbedtls_ssl_read(&session->ssl, plain, sizeof plain);
    if (n > 0) {
      opened += static_cast<size_t>(n);
      std::shared_ptr<Events> events = events_;
      if (events->on_read) events->on_read(view_of(plain, static_cast<size_t>(n)));
      if (!*alive) return;
      continue;
    }
    if (n == MBEDTLS_ERR_SSL_WANT_READ) break;
#if LIMPET_MBED3 && defined(MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
    if (n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) continue;
#endif
    opening_ = false;
    flush();  // an alert that says why
    if (n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return end_of_file();
    if (n == 0 || n == MBEDTLS_ERR_SSL_CONN_EOF) {
      return die({Errc::unavailable, peer() + ": the connection was cut (no TLS close_notify)", 0});
    }
    if (n == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) return die(session->alert().with(peer()));
    return die({Errc::io, peer() + ": TLS: " + mbed_error(n), 0});
  }
  opening_ = false;
  after_opening();
}

void StreamImpl::after_opening() {
  if (dead_) return;
  flush();  // answers of the protocol itself
  if (reading_ && !eof_ && !open_soon_) below_->read_start();
}

void StreamImpl::end_of_file() {
  eof_ = true;
  reading_ = false;
  below_->read_stop();
  std::shared_ptr<Events> events = events_;
  if (events->on_eof) events->on_eof();
}

// Turns plain text into records while the connection below takes them.
void StreamImpl::seal() {
  sealing_ = true;
  size_t sealed = 0;
  while (!pending_.empty() && !dead_ && below_->write_queue_size() < window) {
    if (sealed >= turn_limit) {
      later(seal_soon_, [this] { seal_records(); });
      break;
    }
    const std::string& first = pending_.front();
    size_t left = first.size() - pending_at_;
    int n = mbedtls_ssl_write(&session_->ssl, bytes_of(first) + pending_at_, std::min(left, record_size));
    if (n <= 0) {
      sealing_ = false;
      return fail_later({Errc::io, peer() + ": TLS: " + mbed_error(n), 0});
    }
    sealed += static_cast<size_t>(n);
    pending_size_ -= static_cast<size_t>(n);
    pending_at_ += static_cast<size_t>(n);
    if (pending_at_ == first.size()) {
      pending_.pop_front();
      pending_at_ = 0;
    }
    if (session_->out.size() >= window || pending_.empty()) flush();
  }
  flush();
  sealing_ = false;
  if (pending_.empty() && shut_ && !dead_) say_goodbye();
}

// Goes on sealing from the loop, and reports when all is gone.
void StreamImpl::seal_records() {
  if (dead_) return;
  if (!pending_.empty()) seal();
  if (!owes_drain_ || dead_ || write_queue_size() != 0) return;
  owes_drain_ = false;
  std::shared_ptr<Events> events = events_;
  if (events->on_drain) events->on_drain();
}

void StreamImpl::say_goodbye() {
  mbedtls_ssl_close_notify(&session_->ssl);
  flush();
  below_->shutdown();
}

void StreamImpl::flush() {
  if (!session_->out.empty()) below_->write(std::exchange(session_->out, {}));
}

void StreamImpl::fail_later(Error error) {
  loop_.defer([alive = alive_, this, error = std::move(error)] {
    if (*alive) die(error);
  });
}

void StreamImpl::die(Error error) {
  if (dead_) return;
  dead_ = true;
  reading_ = false;
  pending_.clear();
  pending_size_ = 0;
  below_->read_stop();
  std::shared_ptr<Events> events = events_;
  if (events->on_error) events->on_error(std::move(error));
}

}  // namespace

std::unique_ptr<Stream> established(Engine::Impl& engine, std::shared_ptr<Session> session,
                                    std::unique_ptr<loop::Stream> below) {
  return std::make_unique<StreamImpl>(engine, std::move(session), std::move(below));
}

}  // namespace limpet::tls

#include "peer/attempt.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "peer/address.h"
#include "peer/check.h"

namespace limpet::peer {

namespace {

// The kernel gives up a connection whose bytes nobody takes for so long. Without this, one whose other side
// lost its power stays for a quarter of an hour, and after an outage nothing is sent again for as long as it
// lasted. For raft alone: whoever reads a log may stop reading it for a while.
void limit_silence(const loop::Stream& stream, int64_t ms) {
  const auto limit = static_cast<unsigned>(ms);
  if (stream.fd() >= 0) setsockopt(stream.fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

}  // namespace

Attempt::Attempt(Core& core, std::string device, std::vector<std::string> addresses, Hello hello, Done done)
    : core_(core),
      device_(std::move(device)),
      addresses_(std::move(addresses)),
      hello_(std::move(hello)),
      done_(std::move(done)),
      error_{Errc::not_found,
             device_.empty() ? "no address of a device is known"
                             : "no address of device " + device_ + " is known",
             0},
      timer_(core.loop, "peer.attempt") {
  timer_.start(0, [this] { next(); });
}

Attempt::~Attempt() = default;

void Attempt::next() {
  timer_.stop();
  handshake_.reset();
  stream_.reset();
  received_.clear();
  if (at_ == addresses_.size()) return finish({std::unexpected(std::move(error_)), Reason::none});
  address_ = addresses_[at_++];
  const Result<Address> address = parse_address(address_);
  if (!address) return failed(address.error(), false);
  connect_.tcp(core_.loop, address->host, address->port, core_.options.timing.connect_ms,
               [this](Result<std::unique_ptr<loop::Stream>> stream) {
                 if (!stream) return failed(std::move(stream).error(), false);
                 connected(std::move(*stream));
               });
}

void Attempt::connected(std::unique_ptr<loop::Stream> stream) {
  if (hello_.kind == Kind::raft) {
    limit_silence(*stream, core_.options.timing.silence_ms);
  } else {
    loop::set_keep_alive(*stream, core_.options.timing.keep);
  }
  const int64_t patience_ms = core_.patience.with(device_);
  timer_.start(patience_ms, [this, patience_ms] {
    core_.patience.exhausted(device_, patience_ms);
    failed({Errc::timeout,
            strf("device %s took the connection and did not answer the hello within %lld ms", device_.c_str(),
                 static_cast<long long>(patience_ms)),
            0},
           true);
  });
  losses_ = core_.trust.losses();
  handshake_ = tls::wrap_client(*core_.client, std::move(stream), pki::server_dns_name(device_),
                                [this](Result<std::unique_ptr<tls::Stream>> result) {
                                  if (!result) return failed(std::move(result).error(), true);
                                  secured(std::move(*result));
                                });
}

void Attempt::secured(std::unique_ptr<tls::Stream> stream) {
  Result<pki::Certificate> certificate = pki::parse_certificate(stream->peer_certificate());
  if (!certificate) return failed(certificate.error(), true);
  if (Result<> right = check_server(device_, *certificate); !right)
    return failed(std::move(right).error(), true);
  stream_ = std::move(stream);
  certificate_ = std::move(*certificate);
  stream_->set_events(
      {.on_read = [this](std::string_view bytes) { arrived(bytes); },
       .on_eof =
           [this] {
             failed({Errc::unavailable, "the other side closed before it answered the hello", 0}, true);
           },
       .on_error = [this](Error error) { failed(std::move(error), true); },
       .on_drain = {}});
  stream_->write(encode(hello_));
  stream_->read_start();
}

void Attempt::arrived(std::string_view bytes) {
  received_.append(bytes);
  const Result<size_t> size = envelope_size(received_);
  if (!size) return failed(size.error(), true);
  if (*size != 0) answered(std::string_view(received_).substr(0, *size));
}

void Attempt::answered(std::string_view envelope) {
  Result<Answer> answer = decode_answer(envelope);
  if (!answer) return failed(std::move(answer).error(), true);
  core_.patience.answered(device_);
  // The certificate says that this is the device: its other addresses would answer the same.
  if (answer->refused) {
    const Reason reason = answer->refused->reason;
    const Errc code = reason == Reason::version ? Errc::unsupported : Errc::permission_denied;
    return finish({fail(code, strf("device %s refused (%s): %s", device_.c_str(), reason_name(reason),
                                   answer->refused->text.c_str())),
                   reason});
  }
  if (answer->about.name != device_ || (hello_.wanted != 0 && answer->about.member != hello_.wanted)) {
    return failed({Errc::corrupt, "it answers as another device than its certificate is for", 0}, true);
  }
  if (losses_ != core_.trust.losses() && !core_.trust.issued(certificate_))
    return failed({Errc::unauthenticated, distrusted(device_).text, 0}, true);
  stream_->read_stop();
  stream_->set_events({});
  Greeted greeted{std::move(answer->about), address_, std::move(certificate_), std::move(stream_),
                  received_.substr(envelope.size())};
  finish({std::move(greeted), Reason::none});
}

// What somebody answered says more than that nobody did at another address.
void Attempt::failed(Error error, bool connected) {
  if (connected || !met_) error_ = std::move(error).with(address_);
  met_ = met_ || connected;
  next();
}

void Attempt::finish(Outcome outcome) {
  timer_.stop();
  connect_.cancel();
  handshake_.reset();
  stream_.reset();
  Done done = std::exchange(done_, nullptr);
  done(std::move(outcome));
}

}  // namespace limpet::peer

#include "peer/greeting.h"

#include "peer/check.h"
#include "peer/text.h"

namespace limpet::peer {

Greeting::Greeting(Core& core, tls::ServerContext& context, std::unique_ptr<loop::Stream> stream, Done done)
    : core_(core),
      done_(std::move(done)),
      losses_(core.trust.losses()),
      deadline_(core.loop, "peer.greeting") {
  out_.address = stream->peer();
  limit(core.options.timing.longest_hello_ms());
  handshake_ =
      tls::wrap_server(context, std::move(stream), [this](Result<std::unique_ptr<tls::Stream>> result) {
        if (!result) return refuse(Reason::handshake, std::move(result).error().message);
        secured(std::move(*result));
      });
}

Greeting::~Greeting() = default;

void Greeting::limit(int64_t ms) {
  deadline_.start(ms, [this, ms] {
    refuse(Reason::silent, strf("no hello came within %lld ms", static_cast<long long>(ms)));
  });
}

void Greeting::secured(std::unique_ptr<tls::Stream> stream) {
  limit(core_.options.timing.hello_ms);
  out_.stream = std::move(stream);
  if (out_.stream->peer_certificate().empty()) {
    return refuse(Reason::certificate, "it showed no certificate; every device of a cluster has one");
  }
  Result<pki::Certificate> certificate = pki::parse_certificate(out_.stream->peer_certificate());
  if (!certificate) return refuse(Reason::certificate, certificate.error().message);
  out_.certificate = std::move(*certificate);
  out_.name = printable(out_.certificate.subject.common_name);
  out_.stream->set_events(
      {.on_read = [this](std::string_view bytes) { arrived(bytes); },
       .on_eof = [this] { refuse(Reason::malformed, "it closed before its hello was whole"); },
       .on_error =
           [this](const Error& error) {
             out_.stream.reset();
             refuse(Reason::malformed, "it left before its hello was whole: " + error.message);
           },
       .on_drain = {}});
  out_.stream->read_start();
}

void Greeting::arrived(std::string_view bytes) {
  out_.received.append(bytes);
  const Result<size_t> size = envelope_size(out_.received);
  if (!size) return refuse(Reason::malformed, size.error().message);
  if (*size == 0) return;
  Result<Hello> hello = decode_hello(std::string_view(out_.received).substr(0, *size));
  if (!hello) {
    return refuse(hello.error().code == Errc::unsupported ? Reason::version : Reason::malformed,
                  hello.error().message);
  }
  out_.received.erase(0, *size);
  out_.hello = std::move(*hello);
  out_.refused = check({core_.options.self, core_.options.name, core_.options.cluster}, core_.directory,
                       out_.hello, out_.certificate);
  if (!out_.refused && losses_ != core_.trust.losses() && !core_.trust.issued(out_.certificate))
    out_.refused = distrusted(out_.hello.about.name);
  finish();
}

void Greeting::refuse(Reason reason, std::string text) {
  out_.refused = {reason, std::move(text)};
  finish();
}

void Greeting::finish() {
  deadline_.stop();
  handshake_.reset();
  if (out_.stream) {
    out_.stream->read_stop();
    out_.stream->set_events({});
  }
  Done done = std::exchange(done_, nullptr);
  done(std::move(out_));
}

}  // namespace limpet::peer

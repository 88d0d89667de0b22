// A connection from its arrival until it is known who is there and what is wanted: TLS and certificate, then
// the hello, each within a deadline. Internal; owned by the acceptor.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "loop/stream.h"
#include "peer/core.h"

namespace limpet::peer {

class Greeting {
 public:
  struct Outcome {
    std::string address;                  // of the other side
    std::string name;                     // that its certificate is for, when it got so far
    std::unique_ptr<tls::Stream> stream;  // reading is off; null when TLS failed or the connection ended
    std::optional<Refusal> refused;
    Hello hello;                   // unless refused
    pki::Certificate certificate;  // unless refused
    std::string received;          // behind the hello
  };
  // Once, on a later turn, unless the Greeting is destroyed first, which may be done from inside it.
  using Done = std::function<void(Outcome)>;

  Greeting(Core& core, tls::ServerContext& context, std::unique_ptr<loop::Stream> stream, Done done);
  ~Greeting();
  Greeting(const Greeting&) = delete;
  // Has not shown a certificate yet: anybody may be there.
  bool unknown() const { return out_.stream == nullptr; }
  const std::string& address() const { return out_.address; }

 private:
  void limit(int64_t ms);
  void secured(std::unique_ptr<tls::Stream> stream);
  void arrived(std::string_view bytes);
  void refuse(Reason reason, std::string text);
  void finish();

  Core& core_;
  Done done_;
  Outcome out_;
  const uint64_t losses_;  // of the trust with which it began
  std::unique_ptr<tls::Handshake> handshake_;
  loop::Timer deadline_;
};

}  // namespace limpet::peer

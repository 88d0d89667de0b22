// One attempt to reach a device: its addresses in turn, TCP, TLS, hello, until one answers. Internal.
//
// Owned by a link or a dial. The callback comes once, on a later turn, unless the Attempt is destroyed first,
// which may be done from inside it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "loop/stream.h"
#include "peer/core.h"

namespace limpet::peer {

struct Greeted {
  About about;
  std::string address;
  pki::Certificate certificate;
  std::unique_ptr<tls::Stream> stream;  // reading is off
  std::string received;                 // behind the answer
};

struct Outcome {
  Result<Greeted> result;
  Reason refused = Reason::none;  // the other side said no, and why
};

class Attempt {
 public:
  using Done = std::function<void(Outcome)>;
  Attempt(Core& core, std::string device, std::vector<std::string> addresses, Hello hello, Done done);
  ~Attempt();
  Attempt(const Attempt&) = delete;
  // The one tried now, or last.
  const std::string& address() const { return address_; }

 private:
  void next();
  void connected(std::unique_ptr<loop::Stream> stream);
  void secured(std::unique_ptr<tls::Stream> stream);
  void arrived(std::string_view bytes);
  void answered(std::string_view envelope);
  void failed(Error error, bool connected);
  void finish(Outcome outcome);

  Core& core_;
  std::string device_;
  std::vector<std::string> addresses_;
  Hello hello_;
  Done done_;
  size_t at_ = 0;  // of the next address
  std::string address_;
  Error error_;       // the most telling one so far
  bool met_ = false;  // somebody was there
  loop::Connect connect_;
  std::unique_ptr<tls::Handshake> handshake_;
  std::unique_ptr<tls::Stream> stream_;
  pki::Certificate certificate_;  // of who is at the other end of stream_
  uint64_t losses_ = 0;           // of the trust with which its handshake began
  std::string received_;
  loop::Timer timer_;
};

}  // namespace limpet::peer

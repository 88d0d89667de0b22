// The connections to the API's own port on which a certificate was shown. Port 6444 judges its connections
// itself (peer::Peers); here TLS looks at a certificate once, when its connection begins, and a watch or a
// log is one request for an hour: it ends when the certificate is denied, or its authority replaced.
//
// Owned by the listeners' part; what it handed out may outlive it. Loop thread only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "loop/loop.h"
#include "loop/stream.h"
#include "peer/channel.h"
#include "pki/trust.h"

namespace limpet::daemon {

class ClientConnections {
 public:
  explicit ClientConnections(loop::Loop& loop) : loop_(loop) {}

  // The stream, to be served in place of the one given. Without a certificate: the one given.
  std::unique_ptr<loop::Stream> hold(std::unique_ptr<loop::Stream> stream, std::string_view certificate_der);
  // What is cut: no byte goes either way any more, and who serves it gets an error on a later turn of the
  // loop. By keys (hex SHA-256 of the SubjectPublicKeyInfo) that are denied now:
  void cut_denied(const std::function<bool(const std::string& key)>& denied);
  // and by authorities that are not trusted any more.
  void cut_distrusted(const pki::Trust& trust);
  size_t held() const { return held_->size(); }

 private:
  struct Held {
    std::string key, name, der;
    peer::Channel::Handle channel;
  };
  void cut(const Held& one, const char* why);

  loop::Loop& loop_;
  std::shared_ptr<std::list<Held>> held_ = std::make_shared<std::list<Held>>();
};

}  // namespace limpet::daemon

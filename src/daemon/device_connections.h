// The connections of devices to the API's own port, each with the key of the certificate that was shown on
// it. Port 6444 judges its connections itself (peer::Peers::recheck); here a certificate is looked at for
// each request, and a watch or a log is one request for an hour: it ends when the certificate is denied.
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

namespace limpet::daemon {

class DeviceConnections {
 public:
  explicit DeviceConnections(loop::Loop& loop) : loop_(loop) {}

  // The stream, to be served in place of the one given. Of a certificate that is none of a device's (it is
  // never denied): the one given.
  std::unique_ptr<loop::Stream> hold(std::unique_ptr<loop::Stream> stream, std::string_view certificate_der);
  // Cuts those of keys (hex SHA-256 of the SubjectPublicKeyInfo) that are denied now: no byte goes either way
  // any more, and who serves them gets an error on a later turn of the loop.
  void recheck(const std::function<bool(const std::string& key)>& denied);
  size_t held() const { return held_->size(); }

 private:
  struct Held {
    std::string key, name;
    peer::Channel::Handle channel;
  };

  loop::Loop& loop_;
  std::shared_ptr<std::list<Held>> held_ = std::make_shared<std::list<Held>>();
};

}  // namespace limpet::daemon

// What an agent gets from a server: POST /limpet/v1/renew of port 6443 (cluster/renewal.h).
//
// The leader answers, since it is the one who waits for what agents tell while an authority is replaced;
// other servers hand the request on to it with the certificate that the agent showed them. Nothing is
// written. Who has more certificates signed than a device needs is put off. Loop thread; owned by the
// cluster's service.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cluster/renewal.h"
#include "daemon/key_keeper.h"
#include "daemon/part.h"
#include "http/message.h"
#include "pki/key.h"
#include "store/store.h"

namespace limpet::daemon {

class RenewalService {
 public:
  RenewalService(Device& device, KeyKeeper& keys) : device_(device), keys_(keys) {}
  RenewalService(const RenewalService&) = delete;

  // Whether it comes from an agent; else it was answered. Costs little, before it is handed on.
  bool admit(const http::ExchangePtr& exchange) const;
  // On the leader. Answers, now or later.
  void serve(http::ExchangePtr exchange);

 private:
  struct Asking;
  using AskingPtr = std::shared_ptr<Asking>;
  cluster::Authorities authorities() const;
  void look_up(const AskingPtr& asking);
  void decide(const AskingPtr& asking);
  Result<std::string> certificate(const Asking& asking, const cluster::Authorities& authorities);
  Result<> take_turn(const std::string& name);

  // So many certificates at once, and one more each minute.
  static constexpr int64_t most_turns = 6, turn_ms = 60'000;
  struct Turns {
    int64_t left = most_turns;
    int64_t since_ms = 0;  // of the last that was given back
  };

  Device& device_;
  KeyKeeper& keys_;
  std::map<std::string, Turns> turns_;  // by name, of those who have not all of them
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

// The certificate that an agent showed to the server that hands its request on, base64 of DER; believed on
// connections of servers alone.
inline constexpr const char* shown_header = "X-Limpet-Certificate";

}  // namespace limpet::daemon

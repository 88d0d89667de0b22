// What /limpet/v1/ has to say and do about the cluster, for the limpet command, for devices that join, and
// for other servers that hand on what only the leader does.
//
//   GET    cluster                    cluster_status.h, as the leader sees it where it can be asked
//   POST   cluster/certificates, GET and POST cluster/authority      key_keeper.h
//   POST   cluster/join               {"url", "token", "role", "discard"}: this device joins another cluster
//   DELETE cluster/nodes/NAME         a device leaves
//   POST   cluster/nodes/NAME/revoke  and is never let in again
//   GET    tokens
//   POST   tokens                     {"role", "ttlSeconds", "uses", "description"}
//   DELETE tokens/ID
//   POST   join                       join_service.h
//   POST   renew                      renewal_service.h
//
// The unix socket asks as root (local_api.h); port 6443 is answered `join` and `renew` alone; port 6444,
// other servers, all but what is about tokens and this device. Loop thread; owned by the cluster's part.
#pragma once

#include <memory>
#include <string>

#include "client/client.h"
#include "daemon/departures.h"
#include "daemon/join_command.h"
#include "daemon/join_service.h"
#include "daemon/key_keeper.h"
#include "daemon/key_ring.h"
#include "daemon/leader_relay.h"
#include "daemon/part.h"
#include "daemon/renewal_service.h"
#include "http/message.h"

namespace limpet::daemon {

class ClusterService {
 public:
  // `joined` comes after a server was let in.
  ClusterService(Device& device, loop::Task joined);
  ~ClusterService();
  ClusterService(const ClusterService&) = delete;

  // Of the servers' records.
  void members_changed() { departures_.members_changed(); }

  http::Handler local();                          // below /limpet/v1/cluster and /limpet/v1/tokens
  http::Handler public_over(http::Handler api);   // port 6443
  http::Handler servers_over(http::Handler api);  // port 6444

 private:
  void serve_local(http::ExchangePtr exchange);
  void serve_leader(http::ExchangePtr exchange);
  void status(http::ExchangePtr exchange);
  void nodes(http::ExchangePtr exchange, std::string_view rest);
  void tokens(http::ExchangePtr exchange, std::string_view rest);
  void create_token(http::ExchangePtr exchange);
  void list_tokens(http::ExchangePtr exchange);
  void join(http::ExchangePtr exchange);
  void api_call(http::ExchangePtr exchange, client::Call call,
                std::function<void(const http::ExchangePtr&, const client::Reply&)> done);

  Device& device_;
  KeyRing keys_;
  KeyKeeper keeper_;
  JoinService joins_;
  RenewalService renewals_;
  JoinCommand join_;
  std::unique_ptr<client::Client> client_;
  Departures departures_;
  uint64_t next_call_ = 0;
  std::map<uint64_t, std::unique_ptr<client::Pending>> calls_;
  LeaderRelay relay_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon

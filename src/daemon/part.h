// A part of the daemon: one room brought to life. Parts start in the order of parts.cc and stop in reverse.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "daemon/config.h"
#include "daemon/paths.h"
#include "http/message.h"
#include "loop/loop.h"
#include "peer/peers.h"
#include "pki/identity.h"

namespace limpet::client {
class Client;
}
namespace limpet::store {
class Store;
}
namespace limpet::api {
class AccountKeys;
class ApiServer;
class ClusterAccess;
class NodeAccess;
}  // namespace limpet::api
namespace limpet::tls {
class Engine;
}
namespace limpet::node {
class Agent;
class Images;
}  // namespace limpet::node

namespace limpet::daemon {

class Leadership;
class ClusterService;
class Collectors;
class Denied;
class LocalApi;
class MemberRecords;
class NodeService;

// What every server holds of the cluster.
struct ClusterKeys {
  std::string ca_pem;  // all that are trusted; the first signs
  std::string ca_key_pem;
  std::string service_account_key_pem;
  bool operator==(const ClusterKeys&) const = default;
};

// What a server issued to an agent (pki/install.h).
struct Issued {
  std::string ca_pem;
  std::string certificate_pem;  // "": the device's stays
};

// What parts share. Each part fills in what it makes when it starts and takes it away when it stops; a part
// reads only what earlier parts made. Owned by main, outlives every part.
struct Device {
  loop::Loop& loop;
  SystemClock& clock;
  Random& random;
  Config config;
  Paths paths;
  std::string node_name;
  // A part found that the daemon cannot go on (a failed fsync): stop, exit status 1.
  std::function<void(const std::string& reason)> fatal;
  // Starting takes as long as this from now: the service manager is told. Set by the Daemon.
  std::function<void(int64_t ms)> starting_takes;
  // What keeps the device from being ready, for the service manager; while it starts. Set by the Daemon.
  std::function<void(const std::string& text)> starting_status;
  bool stopping = false;  // set by the Daemon
  // What comes before the first part stops, while everything still runs; calls its argument once, soon. Not
  // called after a fatal error.
  std::function<void(loop::Task done)> before_stop;
  // The daemon begins anew with the same arguments, in this process, once everything has stopped.
  std::function<void(const std::string& reason)> restart;

  store::Store* store = nullptr;
  Leadership* leadership = nullptr;
  pki::Identity identity;
  // Called when the identity was renewed; set by whoever serves with it. On an error it is called again.
  std::function<Result<>()> identity_changed;
  // A server: the cluster has these keys now. They become files, and certificates follow.
  std::function<void(ClusterKeys)> take_keys;
  // A server: other certificates and keys than there are now, whatever they are good for still.
  std::function<void(std::function<void(Result<>)> done)> renew_certificates;
  // An agent: this becomes files and is used from then on. `done` comes once identity is what it is then.
  std::function<void(Issued, std::function<void(Result<>)> done)> take_issued;
  // An agent: identity was read again, and may be due.
  std::function<void()> identity_looked_at;
  // Of a device that was let into a cluster; empty, 0: it began one of its own.
  std::string cluster_id;
  uint64_t member = 0;
  std::vector<std::string> servers;  // "HOST:PORT" of their APIs
  std::vector<peer::Member> seeds;   // servers that joining told of, until the store does
  tls::Engine* tls = nullptr;
  peer::Peers* peers = nullptr;
  MemberRecords* members = nullptr;
  Denied* denied = nullptr;
  std::function<void()> denied_changed;
  std::function<void()> members_changed;
  api::ClusterAccess* cluster = nullptr;
  ClusterService* cluster_service = nullptr;
  // The servers with their addresses, as the members' records say, or as an agent was told last; and that
  // they are others than before (set by who asks these servers).
  std::vector<peer::ServerEntry> roll;
  std::function<void()> roll_changed;
  // A server: takes connections of port 6444 of the kinds node, agent and stream.
  std::function<void(const peer::Caller&, std::unique_ptr<loop::Stream>)> take_node_stream;
  // An agent: the server that holds it trusts these (peer::Authorities).
  std::function<void(const std::vector<std::string>&)> authorities_told;
  // The device certificate is another one, or the authorities that are trusted are others.
  std::function<void()> certificate_renewed;
  // The same, once connections of port 6444 are made with it.
  std::function<void()> peers_renewed;
  api::ApiServer* api = nullptr;                   // null on an agent
  std::shared_ptr<api::AccountKeys> account_keys;  // of tokens; null on an agent
  Collectors* metrics = nullptr;                   // of /metrics: parts add what they count
  client::Client* client = nullptr;  // the API, as this device: in process on a server, HTTPS on an agent
  node::Images* images = nullptr;
  node::Agent* agent = nullptr;
  NodeService* node_service = nullptr;          // logs, exec and attach for connections of port 6444
  api::NodeAccess* remote_nodes = nullptr;      // the containers of other devices; null where there are none
  std::function<void(http::ExchangePtr)> view;  // an agent: what the unix socket serves in place of the API
  uint32_t reader_gid = ~0u;                    // of listen.socketGroup; ~0: no such group
  std::function<bool(uint32_t uid, uint32_t gid)> is_reader;  // a member of that group
  std::string api_version;                                    // of Kubernetes, as /version says
  LocalApi* local = nullptr;  // what the unix socket serves beside the API; parts add theirs
  // Parts that are not ready, with the reason; set by the Daemon.
  std::function<std::vector<std::pair<std::string, std::string>>()> not_ready;
};

class Part {
 public:
  virtual ~Part() = default;
  virtual const char* name() const = 0;  // for the error "start NAME: ..."
  // On an error the part has undone what it did itself; stop() is not called.
  virtual Result<> start() = 0;
  // Calls done once, now or later; afterwards nothing of the part runs any more.
  virtual void stop(loop::Task done) { done(); }
  // The configuration changed by SIGHUP; device.config is the new one.
  virtual void reload(const Config& before) { (void)before; }
  // What keeps the part from being ready to serve, empty when nothing.
  virtual std::string not_ready() const { return ""; }
};

using Parts = std::vector<std::unique_ptr<Part>>;

// The visible list: everything a limpetd is made of, in order.
Parts make_parts(Device& device);

}  // namespace limpet::daemon

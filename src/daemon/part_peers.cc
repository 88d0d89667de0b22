// The other devices of the cluster: port 6444, the messages of the raft group, what is forwarded to the
// leader.
#include <algorithm>
#include <map>

#include "api/server.h"
#include "base/log.h"
#include "cluster/device.h"
#include "daemon/cluster_link.h"
#include "daemon/cluster_service.h"
#include "daemon/denied.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/member_addresses.h"
#include "daemon/member_records.h"
#include "daemon/names.h"
#include "daemon/parts.h"
#include "daemon/place.h"
#include "http/server.h"
#include "peer/peers.h"
#include "store/store.h"
#include "tls/tls.h"

namespace limpet::daemon {
namespace {

constexpr int64_t settle_ms = 1'000;  // addresses come in bursts
constexpr int64_t drain_ms = 2'000;
constexpr size_t forwarded_connections = 256;
constexpr size_t most_strangers = 16;

class PeersPart final : public Part {
 public:
  explicit PeersPart(Device& device) : device_(device) {}
  const char* name() const override { return "peers"; }

  Result<> start() override {
    engine_ = std::make_unique<tls::Engine>(device_.loop, device_.clock);
    TRY(peers_,
        peer::Peers::make(device_.loop, *engine_, device_.clock, device_.random, options(), callbacks()));
    store::Consensus& group = device_.store->consensus();
    group.on_message([this](raft::MemberId to, std::string bytes) { peers_->send(to, std::move(bytes)); });
    records_ = std::make_unique<MemberRecords>(device_.loop, device_.store->durable(),
                                               [this] { records_changed(); });
    whereabouts_ = std::make_unique<MemberAddresses>(device_, *records_);
    denied_ = std::make_unique<Denied>(device_.loop, device_.store->durable(), [this] {
      peers_->recheck();
      if (device_.denied_changed) device_.denied_changed();
    });
    link_ = std::make_unique<ClusterLink>(device_.loop, group, *peers_);
    link_->on_change([this] {
      if (device_.api) device_.api->leadership_changed();
    });
    forwarded_ = std::make_unique<http::Server>(device_.loop, server_options(), [this](http::ExchangePtr e) {
      if (!device_.api || !device_.cluster_service)
        return e->respond(not_serving(503, "this server is starting or stopping"));
      if (e->request().path == MemberAddresses::path) return whereabouts_->take_report(e);
      device_.cluster_service->servers_over(device_.api->handler())(std::move(e));
    });
    work_ = device_.leadership->follow({[this](uint64_t term) { whereabouts_->lead(term, addresses()); },
                                        [this] { whereabouts_->lead(0, {}); }});
    watch_addresses();
    set_members();
    device_.tls = engine_.get();
    device_.peers = peers_.get();
    device_.members = records_.get();
    device_.denied = denied_.get();
    device_.cluster = link_.get();
    device_.peers_renewed = [this] { link_->renewed(); };
    log::info("listening for other devices",
              {{"address", strf("%s:%d", device_.config.listen.peers_address.c_str(), peers_->port())}});
    return {};
  }

  void stop(loop::Task done) override {
    device_.peers_renewed = nullptr;
    device_.cluster = nullptr;
    device_.members = nullptr;
    device_.denied = nullptr;
    device_.peers = nullptr;
    device_.tls = nullptr;
    address_watch_.reset();
    work_.reset();
    forwarded_->shutdown(drain_ms, [this, done] {
      device_.loop.defer([this, done] {
        if (device_.store) device_.store->consensus().on_message({});
        forwarded_.reset();
        whereabouts_.reset();
        link_.reset();
        records_.reset();
        denied_.reset();
        peers_->stop();
        peers_.reset();
        engine_.reset();
        done();
      });
    });
  }

  void reload(const Config& before) override {
    if (device_.peers && before.node.dns_name != device_.config.node.dns_name) tell_addresses();
  }

 private:
  peer::Credentials credentials() const {
    const pki::Identity& id = device_.identity;
    return {.certificate_pem = id.peer_pem, .key_pem = id.peer_key_pem, .ca_pem = id.ca_pem};
  }

  std::vector<std::string> addresses() const { return peers_addresses(device_.config); }

  peer::PeersOptions options() const {
    const Config& c = device_.config;
    peer::PeersOptions o;
    o.self = device_.store->consensus().self();
    o.cluster = device_.store->consensus().cluster();
    o.name = device_.node_name;
    o.listen_address = c.listen.peers_address;
    o.port = static_cast<uint16_t>(c.listen.peers_port);
    o.addresses = addresses();
    o.software = "limpet " LIMPET_VERSION;
    o.credentials = credentials();
    o.timing = c.cluster.profile == "metered" ? peer::Timing::metered() : peer::Timing::lan();
    return o;
  }

  peer::PeersCallbacks callbacks() {
    peer::PeersCallbacks c;
    c.on_raft = [this](peer::MemberId from, std::string_view bytes) { received(from, bytes); };
    c.on_unreachable = [this](peer::MemberId id) {
      if (device_.store) device_.store->consensus().unreachable(id);
    };
    c.judge = [this](const peer::Caller& caller) { return judge(caller); };
    c.on_stream = [this](peer::Caller caller, std::unique_ptr<loop::Stream> stream) {
      serve(caller, std::move(stream));
    };
    c.on_learned = [this](const peer::Member& member) { whereabouts_->learned(member.id, member.addresses); };
    return c;
  }

  http::ServerOptions server_options() const {
    http::ServerOptions o;
    o.max_connections = forwarded_connections;
    o.clock = &device_.clock;
    o.error_response = not_serving;
    return o;
  }

  // Of a forwarded request that came to no handler: certainly not done.
  static http::Response not_serving(int status, std::string_view message) {
    http::Response response =
        local_failure(status, status == 503 ? "ServiceUnavailable" : "BadRequest", std::string(message));
    if (status == 503) response.headers.set("Retry-After", "1");
    return response;
  }

  void received(peer::MemberId from, std::string_view bytes) {
    if (!device_.store) return;
    if (auto taken = device_.store->consensus().receive(bytes, from);
        !taken && taken.error().code != Errc::unavailable)
      log::warning("a message of another server cannot be read, passing over it",
                   {{"from", cluster::member_text(from)}, {"error", taken.error()}});
  }

  // Who has a server's certificate of this cluster that was not denied is believed to be a member, also when
  // the records here do not say so yet: a server that was away while others joined learns of them from them
  // alone. Raft itself counts nobody who is not of the group.
  std::optional<peer::Refusal> judge(const peer::Caller& caller) {
    if (denied_ && denied_->has(caller.certificate)) {
      return peer::Refusal{
          peer::Reason::denied,
          strf("%s was removed from this cluster: it has to join again", caller.about.name.c_str())};
    }
    if (caller.dialled) return std::nullopt;
    if (!peer::between_servers(caller.kind) || !records_ || caller.about.member == 0) return std::nullopt;
    const MemberRecord* record = records_->find(caller.about.member);
    if (!record) {
      meet(caller.about);
      return std::nullopt;
    }
    if (record->device.name == caller.about.name) return std::nullopt;
    return peer::Refusal{peer::Reason::name, strf("this member is %s, not %s", record->device.name.c_str(),
                                                  caller.about.name.c_str())};
  }

  // It needs a way back: what it is sent goes over a connection of our own.
  void meet(const peer::About& about) {
    if (strangers_.contains(about.member) || strangers_.size() >= most_strangers) return;
    const auto told = [&](const peer::Member& seed) { return seed.id == about.member; };
    if (records_->all().empty() && std::any_of(device_.seeds.begin(), device_.seeds.end(), told)) return;
    strangers_[about.member] = {about.member, about.name, about.addresses};
    device_.loop.defer([this, here = std::weak_ptr<char>(alive_)] {
      if (!here.expired() && device_.peers) set_members();
    });
  }

  void set_members() {
    std::vector<peer::Member> members;
    for (const auto& [id, record] : records_->all()) {
      members.push_back({id, record.device.name, record.device.addresses});
      strangers_.erase(id);
    }
    if (records_->all().empty()) members = device_.seeds;
    for (const auto& [id, member] : strangers_) members.push_back(member);
    peers_->set_members(members);
    peers_->recheck();
  }

  void serve(const peer::Caller& caller, std::unique_ptr<loop::Stream> stream) {
    if (caller.kind != peer::Kind::api) {
      if (device_.take_node_stream) device_.take_node_stream(caller, std::move(stream));
      return;  // else it closes
    }
    if (!forwarded_) return;
    http::Peer from;
    from.kind = http::Peer::Kind::forwarded;
    from.address = caller.address;
    from.client_certificate_der = caller.certificate.der;
    forwarded_->serve(std::move(stream), std::move(from));
  }

  // ---- who is there ----

  void records_changed() {
    if (!device_.peers || records_->all().empty()) return;
    set_members();
    tell_roll();
    whereabouts_->records_changed();
    if (device_.members_changed) device_.members_changed();
    settle_in();
  }

  // The servers, for the agents; not those that leave.
  void tell_roll() {
    device_.roll.clear();
    for (const auto& [id, record] : records_->all()) {
      if (record.device.state != cluster::DeviceState::active) continue;
      device_.roll.push_back(
          {id, record.device.name, record.device.addresses, static_cast<uint16_t>(record.device.api_port)});
    }
    if (device_.roll_changed) device_.roll_changed();
  }

  // The state of the cluster is here, and with it who this server is.
  void settle_in() {
    if (device_.member == 0 || records_->find(device_.member) == nullptr) return;
    auto place = read_place(device_.config.data_dir);
    if (!place || !*place) return;
    (*place)->member = 0;
    if (auto written = write_place(device_.config.data_dir, **place); !written) {
      log::warning("cluster.json is not brought up to date, going on", {{"error", written.error()}});
    } else {
      device_.member = 0;
    }
  }

  void tell_addresses() {
    if (auto told = peers_->set_addresses(addresses()); !told)
      log::warning("other servers are not told of a new address, going on", {{"error", told.error()}});
    whereabouts_->lead(device_.leadership->term(), addresses());
  }

  void watch_addresses() {
    auto watch = AddressWatch::make(device_.loop, AddressWatch::Of::addresses_and_routes, settle_ms,
                                    [this] { tell_addresses(); });
    if (watch) {
      address_watch_ = std::move(*watch);
    } else {
      log::warning("other servers are not told of a new address, going on", {{"error", watch.error()}});
    }
  }

  Device& device_;
  std::unique_ptr<tls::Engine> engine_;
  std::unique_ptr<peer::Peers> peers_;
  std::unique_ptr<MemberRecords> records_;
  std::unique_ptr<MemberAddresses> whereabouts_;
  std::unique_ptr<Denied> denied_;
  std::unique_ptr<ClusterLink> link_;
  std::unique_ptr<http::Server> forwarded_;
  std::unique_ptr<AddressWatch> address_watch_;
  std::unique_ptr<Leadership::Follower> work_;
  std::map<peer::MemberId, peer::Member> strangers_;  // members that the records here do not name yet
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace

std::unique_ptr<Part> make_peers_part(Device& device) { return std::make_unique<PeersPart>(device); }

}  // namespace limpet::daemon

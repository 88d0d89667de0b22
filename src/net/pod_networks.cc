#include "net/pod_networks.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "net/leases.h"
#include "net/netlink_socket.h"

namespace limpet::net {

namespace {

constexpr const char* kPodInterface = "eth0";

Result<> write_sysctl(const std::string& path, std::string_view value) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + path);
  char now[16] = {};
  // Writing what is there already would still send notifications: read first.
  if (read(fd.get(), now, sizeof now - 1) > 0 && std::string_view(now).starts_with(value)) return {};
  if (pwrite(fd.get(), value.data(), value.size(), 0) < 0) return fail_errno(errno, "write " + path);
  return {};
}

std::string lower(std::string s) {
  for (char& c : s) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return s;
}

Result<Link> require_link(NetlinkSocket& socket, const std::string& name) {
  TRY(const std::optional<Link> link, find_link(socket, name));
  if (!link) return fail(Errc::not_found, "link " + name + " is gone");
  return *link;
}

}  // namespace

std::string host_interface(const std::string& pod_uid) { return "veth" + sha256_hex(pod_uid).substr(0, 11); }

// Touched by one job at a time, on whichever pool thread runs it.
struct PodNetworks::State {
  explicit State(NetworkOptions o) : options(std::move(o)), pool(options.local) {}

  Result<> start();
  Result<> ensure_bridge(NetlinkSocket& host);
  Result<> apply_rules();
  Result<std::string> attach(const std::string& uid, const std::string& netns,
                             const std::vector<HostPortRequest>& ports);
  Result<> connect(const std::string& uid, int netns_fd, Ipv4 address);
  Result<> configure_inside(NetlinkSocket& inside, Ipv4 address);
  Result<> detach(const std::string& uid);
  Result<> retain(const std::vector<std::string>& uids);
  Result<> remove_all();

  NetworkOptions options;
  AddressPool pool;
  std::map<std::string, std::vector<PortMapping>> ports;
  bool rules_stale = true;  // the kernel may not have what `ports` says
};

Result<> PodNetworks::State::start() {
  TRY(const auto leases, load_leases(options.lease_dir, &pool));
  for (const auto& [address, lease] : leases) {
    if (!lease.ports.empty()) ports[lease.pod_uid] = lease.ports;
  }
  TRY(NetlinkSocket host, NetlinkSocket::open());
  CHECK_OK(ensure_bridge(host));
  CHECK_OK(write_sysctl("/proc/sys/net/ipv4/ip_forward", "1"));
  return apply_rules();
}

Result<> PodNetworks::State::ensure_bridge(NetlinkSocket& host) {
  TRY(std::optional<Link> link, find_link(host, options.bridge));
  if (link && link->kind != "bridge") {
    return fail(
        Errc::already_exists,
        "link " + options.bridge + " exists and is no bridge: remove it, or name another in network.bridge");
  }
  if (!link) {
    NetlinkMessage m = new_bridge(options.bridge, options.mtu);
    CHECK_OK(host.request(m, "create bridge " + options.bridge));
  }
  TRY(const Link bridge, require_link(host, options.bridge));
  NetlinkMessage address = add_address(bridge.index, pool.gateway(), options.local.bits);
  CHECK_OK(host.request(address, "give " + pool.gateway().text() + " to " + options.bridge));
  NetlinkMessage up = set_link_up(bridge.index);
  return host.request(up, "bring up " + options.bridge);
}

Result<> PodNetworks::State::apply_rules() {
  rules_stale = true;  // until this came to its end
  if (LIMPET_FAILPOINT("net.nft.commit")) return fail(Errc::io, "failpoint net.nft.commit");
  NetworkRules rules{options.table, options.bridge, options.pods, options.local, {}};
  for (const auto& [uid, list] : ports) rules.ports.insert(rules.ports.end(), list.begin(), list.end());
  CHECK_OK(run_nft(ruleset(rules)));
  rules_stale = false;
  return {};
}

Result<> PodNetworks::State::configure_inside(NetlinkSocket& inside, Ipv4 address) {
  TRY(const Link lo, require_link(inside, "lo"));
  NetlinkMessage lo_up = set_link_up(lo.index);
  CHECK_OK(inside.request(lo_up, "bring up lo of the pod"));
  TRY(const Link eth, require_link(inside, kPodInterface));
  NetlinkMessage add = add_address(eth.index, address, options.local.bits);
  CHECK_OK(inside.request(add, "give the pod its address"));
  NetlinkMessage up = set_link_up(eth.index);
  CHECK_OK(inside.request(up, "bring up eth0 of the pod"));
  NetlinkMessage route = add_default_route(eth.index, pool.gateway());
  return inside.request(route, "set the pod's default route");
}

Result<> PodNetworks::State::connect(const std::string& uid, int netns_fd, Ipv4 address) {
  TRY(NetlinkSocket host, NetlinkSocket::open());
  CHECK_OK(ensure_bridge(host));  // somebody may have deleted it
  TRY(NetlinkSocket inside, NetlinkSocket::open_in(netns_fd));
  const std::string name = host_interface(uid);
  TRY(std::optional<Link> outer, find_link(host, name));
  TRY(const std::optional<Link> inner, find_link(inside, kPodInterface));
  if (outer && !inner) {  // half made before a crash, or left by a namespace that is gone
    NetlinkMessage gone = delete_link(name);
    CHECK_OK(host.request(gone, "remove stale link " + name));
    outer.reset();
  }
  if (!outer) {
    NetlinkMessage pair = new_veth(name, kPodInterface, netns_fd, options.mtu);
    CHECK_OK(host.request(pair, "create the pod's veth pair"));
  }
  if (LIMPET_FAILPOINT("net.veth.created")) return fail(Errc::io, "failpoint net.veth.created");
  TRY(const Link bridge, require_link(host, options.bridge));
  TRY(const Link port, require_link(host, name));
  NetlinkMessage master = set_link_master(port.index, bridge.index);
  CHECK_OK(host.request(master, "join " + name + " to " + options.bridge));
  NetlinkMessage hairpin = set_bridge_hairpin(port.index);
  CHECK_OK(host.request(hairpin, "allow hairpin on " + name));
  NetlinkMessage up = set_link_up(port.index);
  CHECK_OK(host.request(up, "bring up " + name));
  return configure_inside(inside, address);
}

Result<std::string> PodNetworks::State::attach(const std::string& uid, const std::string& netns,
                                               const std::vector<HostPortRequest>& wanted) {
  const UniqueFd fd(open(netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open the pod's network namespace " + netns);
  TRY(const Ipv4 address, pool.allocate(uid));
  std::vector<PortMapping> mappings;
  for (const HostPortRequest& p : wanted) {
    mappings.push_back({lower(p.protocol.empty() ? "tcp" : p.protocol),
                        p.host_ip == "0.0.0.0" ? "" : p.host_ip, p.host_port, address, p.container_port});
  }
  // The lease comes first: an address in use without one could be given twice after a crash.
  CHECK_OK(write_lease(options.lease_dir, address, {uid, mappings}));
  CHECK_OK(connect(uid, fd.get(), address));
  if (!mappings.empty()) {
    auto& known = ports[uid];
    if (known != mappings) rules_stale = true;
    known = std::move(mappings);
    if (rules_stale) CHECK_OK(apply_rules());
  }
  return address.text();
}

Result<> PodNetworks::State::detach(const std::string& uid) {
  TRY(NetlinkSocket host, NetlinkSocket::open());
  NetlinkMessage gone = delete_link(host_interface(uid));
  auto r = host.request(gone, "remove the pod's veth pair");
  if (!r && r.error().sys_errno != ENODEV) return r;
  const auto had = ports.find(uid);
  if (had != ports.end()) {
    auto kept = std::move(had->second);
    ports.erase(had);
    if (auto applied = apply_rules(); !applied) {
      ports[uid] = std::move(kept);  // so that the next attempt knows what is left to do
      return applied;
    }
  }
  if (const Ipv4* address = pool.find(uid)) {
    CHECK_OK(remove_lease(options.lease_dir, *address));
    pool.release(uid);
  }
  return {};
}

Result<> PodNetworks::State::retain(const std::vector<std::string>& uids) {
  std::vector<std::string> stale;
  for (const auto& [uid, address] : pool.owners()) {
    if (std::find(uids.begin(), uids.end(), uid) == uids.end()) stale.push_back(uid);
  }
  Result<> outcome;
  for (const std::string& uid : stale) {
    if (auto r = detach(uid); !r) outcome = std::move(r);  // one that fails keeps no other
  }
  return outcome;
}

Result<> PodNetworks::State::remove_all() {
  CHECK_OK(retain({}));
  CHECK_OK(run_nft(delete_table(options.table)));
  TRY(NetlinkSocket host, NetlinkSocket::open());
  NetlinkMessage gone = delete_link(options.bridge);
  auto r = host.request(gone, "remove bridge " + options.bridge);
  if (!r && r.error().sys_errno != ENODEV) return r;
  return {};
}

struct PodNetworks::Job {
  std::function<Result<std::string>(State&)> work;
  std::function<void(Result<std::string>)> done;
};

PodNetworks::PodNetworks(loop::Loop& loop, NetworkOptions options)
    : loop_(loop), state_(std::make_shared<State>(std::move(options))) {}
PodNetworks::~PodNetworks() = default;

void PodNetworks::enqueue(std::function<Result<std::string>(State&)> work,
                          std::function<void(Result<std::string>)> done) {
  jobs_.push_back({std::move(work), std::move(done)});
  next();
}

void PodNetworks::next() {
  if (work_.busy() || jobs_.empty()) return;
  auto outcome = std::make_shared<Result<std::string>>();
  outcome_ = outcome;
  auto count = std::make_shared<size_t>(0);
  work_.start(
      loop_,
      [state = state_, job = jobs_.front().work, outcome, count] {
        *outcome = job(*state);
        *count = state->pool.owners().size();
      },
      [this, outcome, count] {
        attached_ = *count;
        auto done = std::move(jobs_.front().done);
        jobs_.pop_front();
        // The next job is started from a turn of its own, since done may destroy or call this object.
        loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
          if (!alive.expired()) next();
        });
        done(std::move(*outcome));
      });
}

namespace {

// Most jobs have no value to give back.
std::function<void(Result<std::string>)> drop_value(std::function<void(Result<>)> done) {
  return [done = std::move(done)](Result<std::string> r) {
    if (r) return done({});
    done(std::unexpected(std::move(r).error()));
  };
}

Result<std::string> no_value(Result<> r) {
  if (!r) return std::unexpected(std::move(r).error());
  return std::string();
}

}  // namespace

void PodNetworks::start(std::function<void(Result<>)> done) {
  enqueue([](State& s) { return no_value(s.start()); }, drop_value(std::move(done)));
}

void PodNetworks::attach(const std::string& uid, const std::string& netns, std::vector<HostPortRequest> ports,
                         std::function<void(Result<std::string>)> done) {
  enqueue([uid, netns, ports = std::move(ports)](State& s) { return s.attach(uid, netns, ports); },
          std::move(done));
}

void PodNetworks::detach(const std::string& uid, std::function<void(Result<>)> done) {
  enqueue([uid](State& s) { return no_value(s.detach(uid)); }, drop_value(std::move(done)));
}

void PodNetworks::retain(const std::vector<std::string>& uids) {
  enqueue([uids](State& s) { return no_value(s.retain(uids)); },
          [](Result<std::string> r) {
            if (!r) log::warning("cannot remove networks of pods that are gone", {{"error", r.error()}});
          });
}

void PodNetworks::remove_all(std::function<void(Result<>)> done) {
  enqueue([](State& s) { return no_value(s.remove_all()); }, drop_value(std::move(done)));
}

size_t PodNetworks::attached() const { return attached_; }
std::string PodNetworks::gateway() const { return state_->options.local.first_host().text(); }

}  // namespace limpet::net

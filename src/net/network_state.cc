#include "net/network_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "net/leases.h"
#include "net/nft_table.h"

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

void add_words(std::string* list, const std::string& words) { *list += (list->empty() ? "" : ", ") + words; }

}  // namespace

std::string host_interface(const std::string& pod_uid) { return "veth" + sha256_hex(pod_uid).substr(0, 11); }

Result<> NetworkState::load() {
  if (loaded_) return {};
  TRY(const auto leases, load_leases(options_.lease_dir, &pool_));
  for (const auto& [address, lease] : leases) {
    if (!lease.ports.empty()) ports_[lease.pod_uid] = lease.ports;
  }
  loaded_ = true;
  return {};
}

Result<> NetworkState::start() {
  if (options_.enabled) {
    if (auto r = mend(); !r) return std::unexpected(std::move(r).error());
    return {};
  }
  if (access(options_.lease_dir.c_str(), F_OK) != 0) return {};  // there was none before either
  Result<> removed = load();
  if (removed) removed = remove_all();
  if (removed) removed = remove_leases(options_.lease_dir);
  if (!removed) log::warning("the pod network of before cannot be removed", {{"error", removed.error()}});
  return {};
}

Result<std::string> NetworkState::mend() {
  if (!options_.enabled) return std::string();
  auto mended = mend_all();
  problem_ = mended ? "" : mended.error().message;
  return mended;
}

Result<std::string> NetworkState::mend_all() {
  CHECK_OK(load());
  TRY(NetlinkSocket host, NetlinkSocket::open());
  std::string mended;
  bool changed = false;
  CHECK_OK(ensure_bridge(host, &changed));
  if (changed) add_words(&mended, "bridge " + options_.bridge);
  CHECK_OK(write_sysctl("/proc/sys/net/ipv4/ip_forward", "1"));
  changed = false;
  CHECK_OK(ensure_rules(&changed));
  if (changed) add_words(&mended, "table " + options_.table + " of nftables");
  CHECK_OK(allow_loopback());
  CHECK_OK(ensure_links(host, &mended));
  return mended;
}

// What the configuration says, else the uplink's; without an uplink that of the last one.
uint32_t NetworkState::mtu(NetlinkSocket& host) {
  if (options_.mtu > 0) return options_.mtu;
  if (auto now = find_uplink(host); now && *now) uplink_ = std::move(**now);
  return choose_mtu(0, uplink_);
}

Result<> NetworkState::ensure_bridge(NetlinkSocket& host, bool* changed) {
  TRY(std::optional<Link> link, find_link(host, options_.bridge));
  if (link && link->kind != "bridge") {
    return fail(
        Errc::already_exists,
        "link " + options_.bridge + " exists and is no bridge: remove it, or name another in network.bridge");
  }
  const uint32_t wanted = mtu(host);
  if (!link) {
    NetlinkMessage m = new_bridge(options_.bridge, wanted, pool_.gateway());
    CHECK_OK(host.request(m, "create bridge " + options_.bridge));
    *changed = true;
  }
  TRY(const Link bridge, require_link(host, options_.bridge));
  TRY(const std::vector<Ipv4> addresses, addresses_of(host, bridge.index));
  if (std::find(addresses.begin(), addresses.end(), pool_.gateway()) == addresses.end()) {
    NetlinkMessage address = add_address(bridge.index, pool_.gateway(), options_.local.bits);
    CHECK_OK(host.request(address, "give " + pool_.gateway().text() + " to " + options_.bridge));
    *changed = true;
  }
  if (bridge.mtu != wanted) {
    NetlinkMessage m = set_link_mtu(bridge.index, wanted);
    CHECK_OK(host.request(m, "set the MTU of " + options_.bridge));
  }
  if (bridge.up) return {};
  NetlinkMessage up = set_link_up(bridge.index);
  *changed = true;
  return host.request(up, "bring up " + options_.bridge);
}

// Pods whose link to the bridge was cut or removed get it back, with the address they had.
Result<> NetworkState::ensure_links(NetlinkSocket& host, std::string* mended) {
  TRY(const Link bridge, require_link(host, options_.bridge));
  Result<> outcome;
  for (const auto& [uid, netns] : netns_) {
    TRY(const std::optional<Link> link, find_link(host, host_interface(uid)));
    if (link && link->up && link->master == bridge.index) continue;
    const UniqueFd fd(open(netns.c_str(), O_RDONLY | O_CLOEXEC));
    const Ipv4* address = pool_.find(uid);
    if (!fd || !address) continue;  // the pod itself is going; it is detached soon
    if (auto r = connect(uid, fd.get(), *address); !r) {
      outcome = std::unexpected(std::move(r).error().with("connect pod " + address->text()));
    } else {
      add_words(mended, "link of pod " + address->text());
    }
  }
  return outcome;
}

Result<> NetworkState::ensure_rules(bool* changed) {
  if (!rules_stale_) {
    TRY(NetlinkSocket netfilter, NetlinkSocket::open_netfilter());
    TRY(const std::string now, table_fingerprint(netfilter, options_.table, rule_maps()));
    if (now == fingerprint_) return {};
  }
  *changed = true;
  return apply_rules();
}

// Answers of pods to the device's own loopback come in by the bridge. Called with the rules in place, of
// which loopback_guard keeps everything else out.
Result<> NetworkState::allow_loopback() {
  return write_sysctl("/proc/sys/net/ipv4/conf/" + options_.bridge + "/route_localnet", "1");
}

Result<> NetworkState::apply_rules() {
  rules_stale_ = true;  // until this came to its end
  if (LIMPET_FAILPOINT("net.nft.commit")) return fail(Errc::io, "failpoint net.nft.commit");
  NetworkRules rules{options_.table, options_.bridge, options_.pods, options_.local, {}};
  for (const auto& [uid, list] : ports_) rules.ports.insert(rules.ports.end(), list.begin(), list.end());
  TRY(NetlinkSocket netfilter, NetlinkSocket::open_netfilter());
  TRY(const uint32_t before, nft_generation(netfilter));
  CHECK_OK(run_nft(ruleset(rules)));
  TRY(fingerprint_, table_fingerprint(netfilter, options_.table, rule_maps()));
  TRY(const uint32_t after, nft_generation(netfilter));
  // Who else changed something meanwhile may have changed this table: what was read is trusted only if ours
  // was the one change. Otherwise the next look, which our own change brings about, sets the rules again.
  rules_stale_ = after != before + 1;
  return {};
}

Result<> NetworkState::configure_inside(NetlinkSocket& inside, Ipv4 address) {
  TRY(const Link lo, require_link(inside, "lo"));
  NetlinkMessage lo_up = set_link_up(lo.index);
  CHECK_OK(inside.request(lo_up, "bring up lo of the pod"));
  TRY(const Link eth, require_link(inside, kPodInterface));
  NetlinkMessage add = add_address(eth.index, address, options_.local.bits);
  CHECK_OK(inside.request(add, "give the pod its address"));
  NetlinkMessage up = set_link_up(eth.index);
  CHECK_OK(inside.request(up, "bring up eth0 of the pod"));
  NetlinkMessage route = add_default_route(eth.index, pool_.gateway());
  return inside.request(route, "set the pod's default route");
}

Result<> NetworkState::connect(const std::string& uid, int netns_fd, Ipv4 address) {
  TRY(NetlinkSocket host, NetlinkSocket::open());
  bool made = false;
  CHECK_OK(ensure_bridge(host, &made));  // somebody may have deleted it
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
    NetlinkMessage pair = new_veth(name, kPodInterface, netns_fd, mtu(host), address);
    CHECK_OK(host.request(pair, "create the pod's veth pair"));
  }
  if (LIMPET_FAILPOINT("net.veth.created")) return fail(Errc::io, "failpoint net.veth.created");
  TRY(const Link bridge, require_link(host, options_.bridge));
  TRY(const Link port, require_link(host, name));
  NetlinkMessage master = set_link_master(port.index, bridge.index);
  CHECK_OK(host.request(master, "join " + name + " to " + options_.bridge));
  NetlinkMessage hairpin = set_bridge_hairpin(port.index);
  CHECK_OK(host.request(hairpin, "allow hairpin on " + name));
  NetlinkMessage up = set_link_up(port.index);
  CHECK_OK(host.request(up, "bring up " + name));
  return configure_inside(inside, address);
}

Result<std::string> NetworkState::attach(const std::string& uid, const std::string& netns,
                                         const std::vector<HostPortRequest>& wanted) {
  if (!options_.enabled) {
    return fail(Errc::unsupported,
                "this device has no pod network (network.mode is none): set hostNetwork: true in the pod, or "
                "network.mode: bridge in the configuration of the device");
  }
  const UniqueFd fd(open(netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open the pod's network namespace " + netns);
  CHECK_OK(load());
  TRY(const Ipv4 address, pool_.allocate(uid));
  std::vector<PortMapping> mappings;
  for (const HostPortRequest& p : wanted) {
    mappings.push_back({lower(p.protocol.empty() ? "tcp" : p.protocol),
                        p.host_ip == "0.0.0.0" ? "" : p.host_ip, p.host_port, address, p.container_port});
  }
  // The lease comes first: an address in use without one could be given twice after a crash.
  CHECK_OK(write_lease(options_.lease_dir, address, {uid, mappings}));
  CHECK_OK(connect(uid, fd.get(), address));
  netns_[uid] = netns;
  const bool publishes = !mappings.empty();
  if (publishes && ports_[uid] != mappings) {
    ports_[uid] = std::move(mappings);
    rules_stale_ = true;
  }
  bool changed = false;
  Result<> rules = ensure_rules(&changed);
  if (rules) rules = allow_loopback();
  if (!rules) {
    problem_ = rules.error().message;
    // A pod without host ports runs all the same: the device says what is wrong, and tries again.
    if (publishes) return std::unexpected(std::move(rules).error());
  }
  return address.text();
}

Result<> NetworkState::detach(const std::string& uid) {
  netns_.erase(uid);
  TRY(NetlinkSocket host, NetlinkSocket::open());
  NetlinkMessage gone = delete_link(host_interface(uid));
  auto r = host.request(gone, "remove the pod's veth pair");
  if (!r && r.error().sys_errno != ENODEV) return r;
  const auto had = ports_.find(uid);
  if (had != ports_.end()) {
    auto kept = std::move(had->second);
    ports_.erase(had);
    if (auto applied = apply_rules(); !applied) {
      ports_[uid] = std::move(kept);  // so that the next attempt knows what is left to do
      return applied;
    }
  }
  if (const Ipv4* address = pool_.find(uid)) {
    CHECK_OK(remove_lease(options_.lease_dir, *address));
    pool_.release(uid);
  }
  return {};
}

Result<> NetworkState::retain(const std::vector<std::string>& uids) {
  std::vector<std::string> stale;
  for (const auto& [uid, address] : pool_.owners()) {
    if (std::find(uids.begin(), uids.end(), uid) == uids.end()) stale.push_back(uid);
  }
  Result<> outcome;
  for (const std::string& uid : stale) {
    if (auto r = detach(uid); !r) outcome = std::move(r);  // one that fails keeps no other
  }
  return outcome;
}

Result<> NetworkState::remove_all() {
  CHECK_OK(retain({}));
  options_.enabled = false;  // from here on nothing is set right again
  problem_.clear();
  CHECK_OK(run_nft(delete_table(options_.table)));
  TRY(NetlinkSocket host, NetlinkSocket::open());
  NetlinkMessage gone = delete_link(options_.bridge);
  auto r = host.request(gone, "remove bridge " + options_.bridge);
  if (!r && r.error().sys_errno != ENODEV) return r;
  return {};
}

}  // namespace limpet::net

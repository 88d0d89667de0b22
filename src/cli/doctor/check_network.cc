// The device's own network, and the registries it pulls from.
#include <charconv>

#include "cli/doctor/checks.h"
#include "cli/format.h"

namespace limpet::cli::doctor {
namespace {

// The kernel's table: interface, destination, gateway, flags, ...; 00000000 is the default route.
bool has_default_route(const Machine& m) {
  const std::string table = contents(m, "/proc/net/route");
  const std::string table6 = contents(m, "/proc/net/ipv6_route");
  if (table.find("\t00000000\t") != std::string::npos) {
    for (size_t at = 0; at < table.size();) {
      const size_t end = std::min(table.find('\n', at), table.size());
      const std::string line = table.substr(at, end - at);
      const size_t tab = line.find('\t');
      if (tab != std::string::npos && line.compare(tab, 10, "\t00000000\t") == 0) return true;
      at = end + 1;
    }
  }
  // Destination and prefix of IPv6, on a link other than lo.
  for (size_t at = 0; at < table6.size();) {
    const size_t end = std::min(table6.find('\n', at), table6.size());
    const std::string line = table6.substr(at, end - at);
    if (line.starts_with(std::string(32, '0') + " 00 ") && !line.ends_with(" lo")) return true;
    at = end + 1;
  }
  return false;
}

std::string name_servers(const Machine& m) {
  std::string out;
  const std::string text = "\n" + contents(m, "/etc/resolv.conf");
  for (size_t at = text.find("\nnameserver"); at != std::string::npos;
       at = text.find("\nnameserver", at + 1)) {
    const size_t begin = text.find_first_not_of(" \t", at + 11), end = text.find_first_of(" \t\n", begin);
    if (begin == std::string::npos || begin == at + 11) continue;
    out += (out.empty() ? "" : ", ") +
           printable(text.substr(begin, end == std::string::npos ? end : end - begin));
  }
  return out;
}

// "https://host:5000/path" or "host:5000" or "host" as host and port.
struct Place {
  std::string host;
  uint16_t port = 443;
};

Place place_of(std::string text) {
  Place p;
  if (text.starts_with("http://")) p.port = 80;
  if (const size_t scheme = text.find("://"); scheme != std::string::npos) text.erase(0, scheme + 3);
  text = text.substr(0, text.find('/'));
  if (const size_t at = text.rfind('@'); at != std::string::npos)
    text.erase(0, at + 1);  // a proxy's password
  const size_t bracket = text.rfind(']');
  const size_t colon = text.find(':', bracket == std::string::npos ? 0 : bracket);
  if (colon != std::string::npos) {
    (void)std::from_chars(text.data() + colon + 1, text.data() + text.size(), p.port);
    text.erase(colon);
  }
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  p.host = text;
  return p;
}

}  // namespace

Findings check_routes(const Machine& m) {
  Findings out;
  std::string own;
  for (const std::string& a : m.addresses) {
    if (a.starts_with("127.") || a == "::1") continue;
    own += (own.empty() ? "" : ", ") + a;
  }
  const bool route = has_default_route(m);
  const std::string servers = name_servers(m);
  if (own.empty()) {
    out.push_back({"network", Level::warning, "The device has no address but its loopback.",
                   "Plug in or set up its network; pods of this device run without it."});
  } else if (!route) {
    out.push_back({"network", Level::warning,
                   "The device (" + own + ") has no default route: it reaches its own network only.",
                   "Set a gateway if it is to reach registries elsewhere."});
  }
  if (servers.empty()) {
    out.push_back({"network", Level::warning,
                   "/etc/resolv.conf names no name server: no name can be looked up.",
                   "Name one there, or use addresses."});
  }
  if (out.empty())
    out.push_back({"network", Level::ok,
                   "The device has " + own + ", a default route, and the name server " + servers + ".", ""});
  return out;
}

Findings check_registries(const Machine& m) {
  std::vector<std::string> wanted = m.registries;
  for (const auto& [registry, mirrors] : m.config.registries.mirrors)
    wanted.insert(wanted.end(), mirrors.begin(), mirrors.end());
  for (const std::string& proxy : {m.config.proxy.http, m.config.proxy.https}) {
    if (!proxy.empty() && (wanted.empty() || wanted.back() != proxy)) wanted.push_back(proxy);
  }
  if (wanted.empty()) {
    return {{"registries", Level::skipped,
             "No mirror or proxy is configured; name a registry to try it: limpet doctor --registry HOST.",
             ""}};
  }
  constexpr size_t most = 4;  // each may take its whole deadline
  Findings out;
  for (size_t i = 0; i < wanted.size() && i < most; i++) {
    const Place p = place_of(wanted[i]);
    const std::string where = strf("%s port %u", printable(p.host).c_str(), p.port);
    const std::string why = m.dial(p.host, p.port);
    if (why.empty()) {
      out.push_back({"registries", Level::ok, where + " takes connections.", ""});
    } else {
      out.push_back({"registries", Level::problem, where + " cannot be reached: " + printable(why) + ".",
                     "Check that it runs, and the network and name server above; images that are on the "
                     "device run without it."});
    }
  }
  if (wanted.size() > most)
    out.push_back(
        {"registries", Level::skipped, strf("%zu further ones were not tried.", wanted.size() - most), ""});
  return out;
}

}  // namespace limpet::cli::doctor

// The device's own network, and the registries it pulls from.
#include <algorithm>

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

// Pods whose images are on the device run without their registry: of one that nobody configured or named it
// is a warning that it cannot be reached.
Finding judge(const std::string& name, const Ways& ways, bool named) {
  std::string good, bad;
  bool certificate = false;
  for (const Way& way : ways) {
    if (way.problem.empty()) {
      good += (good.empty() ? "" : ", ") + printable(way.where);
    } else {
      bad += (bad.empty() ? "" : "; ") + printable(way.where) + ": " + printable(way.problem);
      certificate = certificate || way.certificate;
    }
  }
  if (bad.empty()) return {"registries", Level::ok, printable(name) + " answers (" + good + ").", ""};
  const char* remedy =
      certificate
          ? "Check the clock; name the authority that signed it in registries.caFile."
          : "Check that it runs, the proxy, and the network and name server above; images that are on "
            "the device run without it.";
  if (!good.empty()) {
    return {"registries", Level::warning,
            printable(name) + " answers at " + good + ", but not everywhere: " + bad + ".", remedy};
  }
  return {"registries", named ? Level::problem : Level::warning,
          printable(name) + (certificate ? " is not trusted: " : " cannot be reached: ") + bad + ".", remedy};
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
  std::vector<std::string> wanted;
  const auto want = [&](const std::string& registry) {
    if (std::find(wanted.begin(), wanted.end(), registry) == wanted.end()) wanted.push_back(registry);
  };
  for (const std::string& registry : m.registries) want(registry);
  for (const auto& [registry, mirrors] : m.config.registries.mirrors) want(registry);
  const size_t named = wanted.size();
  for (const std::string& registry : m.pod_registries) want(registry);
  if (wanted.empty()) {
    return {{"registries", Level::skipped,
             "No pod and no mirror is known; name a registry to try it: limpet doctor --registry HOST.", ""}};
  }
  constexpr size_t most = 4;  // their names are looked up one after the other
  const size_t left = wanted.size() - std::min(wanted.size(), most);
  wanted.resize(wanted.size() - left);
  Findings out;
  const std::vector<Ways> ways = m.ask_registries(wanted);
  for (size_t i = 0; i < wanted.size(); i++) out.push_back(judge(wanted[i], ways[i], i < named));
  if (left > 0)
    out.push_back({"registries", Level::skipped, strf("%zu further ones were not tried.", left), ""});
  return out;
}

}  // namespace limpet::cli::doctor

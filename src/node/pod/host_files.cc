#include "node/pod/host_files.h"

#include <algorithm>

namespace limpet::node {

namespace {

using json::Cursor;

constexpr size_t kMaxSearches = 32, kMaxNameservers = 3;

struct Resolver {
  std::vector<std::string> nameservers, searches, options;
};

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < line.size()) {
    at = line.find_first_not_of(" \t\r", at);
    if (at == std::string_view::npos) break;
    const size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    out.emplace_back(line.substr(at, end - at));
    at = end;
  }
  return out;
}

Resolver parse_resolv_conf(std::string_view text) {
  Resolver r;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::vector<std::string> w = words(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (w.size() < 2) continue;
    if (w[0] == "nameserver") r.nameservers.push_back(w[1]);
    if (w[0] == "search") r.searches.assign(w.begin() + 1, w.end());
    if (w[0] == "domain" && r.searches.empty()) r.searches = {w[1]};
    if (w[0] == "options") r.options.insert(r.options.end(), w.begin() + 1, w.end());
  }
  return r;
}

void add_unique(std::vector<std::string>* list, const std::string& value) {
  if (std::find(list->begin(), list->end(), value) == list->end()) list->push_back(value);
}

// An option replaces one of the same name ("ndots:2" over "ndots:5").
void add_option(std::vector<std::string>* list, const std::string& name, const std::string& value) {
  std::erase_if(*list, [&](const std::string& o) { return o == name || o.starts_with(name + ":"); });
  list->push_back(value.empty() ? name : name + ":" + value);
}

void apply_dns_config(Cursor config, Resolver* r) {
  const auto each = [](Cursor list, auto f) {
    list.each([&](std::string_view, Cursor v) {
      f(v);
      return true;
    });
  };
  each(config["nameservers"], [&](Cursor v) { add_unique(&r->nameservers, v.str()); });
  each(config["searches"], [&](Cursor v) { add_unique(&r->searches, v.str()); });
  each(config["options"], [&](Cursor v) { add_option(&r->options, v["name"].str(), v["value"].str()); });
}

std::string render(Resolver r) {
  if (r.searches.size() > kMaxSearches) r.searches.resize(kMaxSearches);
  if (r.nameservers.size() > kMaxNameservers) r.nameservers.resize(kMaxNameservers);
  std::string out;
  const auto line = [&](const char* word, const std::vector<std::string>& list) {
    if (list.empty()) return;
    out += word;
    for (const std::string& s : list) out += " " + s;
    out += "\n";
  };
  line("search", r.searches);
  for (const std::string& n : r.nameservers) out += "nameserver " + n + "\n";
  line("options", r.options);
  return out;
}

std::string aliases(Cursor pod) {
  std::string out;
  pod["spec"]["hostAliases"].each([&](std::string_view, Cursor alias) {
    std::string names;
    alias["hostnames"].each([&](std::string_view, Cursor name) {
      names += "\t" + name.str();
      return true;
    });
    out += alias["ip"].str() + names + "\n";
    return true;
  });
  return out.empty() ? "" : "\n# Entries added by HostAliases.\n" + out;
}

}  // namespace

std::string pod_hostname(Cursor pod) {
  std::string name = pod["spec"]["hostname"].str();
  if (name.empty()) name = pod["metadata"]["name"].str();
  if (name.size() > 63) name.resize(63);
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  return name;
}

std::string resolv_conf(Cursor pod, const DnsOptions& options) {
  const Cursor spec = pod["spec"];
  std::string policy = spec["dnsPolicy"].str("ClusterFirst");
  // ClusterFirst means the device's own resolver with the host network, and while there is no cluster DNS.
  if (policy == "ClusterFirst" && spec["hostNetwork"].boolean()) policy = "Default";
  if (policy.starts_with("ClusterFirst") && options.cluster_dns.empty()) policy = "Default";
  Resolver r;
  if (policy == "Default") r = parse_resolv_conf(options.host_resolv_conf);
  if (policy.starts_with("ClusterFirst")) {
    const std::string ns = pod["metadata"]["namespace"].str(), domain = options.cluster_domain;
    r.nameservers = {options.cluster_dns};
    r.searches = {ns + ".svc." + domain, "svc." + domain, domain};
    for (const std::string& s : parse_resolv_conf(options.host_resolv_conf).searches)
      add_unique(&r.searches, s);
    r.options = {"ndots:5"};
  }
  apply_dns_config(spec["dnsConfig"], &r);
  return render(std::move(r));
}

std::string etc_hosts(Cursor pod, const std::string& hostname, const std::vector<std::string>& pod_ips,
                      const std::string& host_etc_hosts, const std::string& cluster_domain) {
  if (pod["spec"]["hostNetwork"].boolean()) {
    return "# Kubernetes-managed hosts file (host network).\n" + host_etc_hosts + aliases(pod);
  }
  std::string out =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
  const std::string subdomain = pod["spec"]["subdomain"].str();
  std::string names = hostname;
  if (!subdomain.empty()) {
    names = hostname + "." + subdomain + "." + pod["metadata"]["namespace"].str() + ".svc." + cluster_domain +
            "\t" + names;
  }
  for (const std::string& ip : pod_ips) out += ip + "\t" + names + "\n";
  return out + aliases(pod);
}

}  // namespace limpet::node

// The small files that every container finds in /etc, as text. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace limpet::node {

struct DnsOptions {
  std::string cluster_dns;  // empty: no cluster DNS on this device yet
  std::string cluster_domain = "cluster.local";
  std::string host_resolv_conf;  // text of the device's own
};

// By dnsPolicy and dnsConfig: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
std::string resolv_conf(json::Cursor pod, const DnsOptions& options);
// The pod's own name and address, hostAliases; with the host network the device's file with the aliases
// behind it.
std::string etc_hosts(json::Cursor pod, const std::string& hostname, const std::vector<std::string>& pod_ips,
                      const std::string& host_etc_hosts, const std::string& cluster_domain);
// spec.hostname or the pod's name, cut to what a host name may be.
std::string pod_hostname(json::Cursor pod);

}  // namespace limpet::node

// The table of configuration keys, in the order of configs/limpetd.yaml.
#include "daemon/config.h"

namespace limpet::daemon {
namespace {

using Rule = Key::Rule;

constexpr Rule path_rule{.format = Format::path};
constexpr Rule derived_path{.format = Format::path, .may_be_empty = true};
constexpr Rule range_rule{.format = Format::cidr};

#define TO(member) +[](Config& c) -> Target { return &c.member; }

const Key keys[] = {
    {"nodeName", "", "Name of this device in the cluster. Empty: the host name.", TO(node_name),
     {.format = Format::dns_name, .may_be_empty = true}},
    {"dataDir", "/var/lib/limpet", "Everything that must survive a reboot: store, certificates, images, pods.",
     TO(data_dir), path_rule},
    {"runDir", "/run/limpet", "Runtime files: sockets, state of running containers.", TO(run_dir), path_rule},
    {"adminKubeconfig", "/etc/limpet/admin.kubeconfig", "Written at first start, mode 0600: full access for kubectl.",
     TO(admin_kubeconfig), path_rule},
    {"manifestsDir", "/etc/limpet/manifests", "Pods of the device itself (static pods), one or more YAML files.",
     TO(manifests_dir), path_rule},
    {"cgroupRoot", "limpet", "Where the cgroups of pods go, below the cgroup mount. Distinct per device on one machine.",
     TO(cgroup_root), {.format = Format::cgroup}},

    {"listen.api.address", "0.0.0.0", "Address the API listens on; :: takes IPv4 and IPv6.", TO(listen.api_address),
     {.format = Format::address}},
    {"listen.api.port", "6443", "Port of the API.", TO(listen.api_port), {.min = 1, .max = 65535}},
    {"listen.socket", "", "Unix socket for the limpet command. Empty: limpet.sock in runDir.", TO(listen.socket),
     derived_path},
    {"listen.socketGroup", "limpet", "Group that may read through the socket; root may do everything. Unknown groups are ignored.",
     TO(listen.socket_group), {.format = Format::group_name, .may_be_empty = true}},

    {"tls.names", "", "Further DNS names and addresses for the serving certificate.", TO(tls.names),
     {.format = Format::tls_name, .reload = true}},

    {"node.address", "", "Address others reach this device by. Empty: the source address of the default route.",
     TO(node.address), {.format = Format::address, .may_be_empty = true}},
    {"node.labels", "", "Labels of the Node object.", TO(node.labels),
     {.format = Format::label_value, .key_format = Format::label_key, .may_be_empty = true, .reload = true}},
    {"node.taints", "", "Taints of the Node object at registration, as key=value:Effect.", TO(node.taints),
     {.format = Format::taint, .reload = true}},
    {"node.podCIDR", "", "Range of this device's pods. Empty: the first /24 of network.podCIDR.", TO(node.pod_cidr),
     {.format = Format::cidr, .may_be_empty = true}},
    {"node.maxPods", "110", "Pods this device accepts.", TO(node.max_pods), {.min = 1, .max = 1000}},

    {"network.mode", "bridge", "bridge: a bridge and an address per pod. none: only pods with hostNetwork.",
     TO(network.mode), {.choices = "bridge,none"}},
    {"network.bridge", "limpet0", "Name of the bridge.", TO(network.bridge), {.format = Format::link_name}},
    {"network.mtu", "0", "MTU of pod links. 0: that of the default route's link.", TO(network.mtu),
     {.min = 0, .max = 65535}},
    {"network.podCIDR", "10.42.0.0/16", "Range of all pods; each device gets a part.", TO(network.pod_cidr), range_rule},
    {"network.serviceCIDR", "10.43.0.0/16", "Range of service addresses.", TO(network.service_cidr), range_rule},
    {"network.dns", "10.43.0.10", "Address of the cluster's DNS, within serviceCIDR.", TO(network.dns),
     {.format = Format::address}},
    {"network.clusterDomain", "cluster.local", "Domain of services.", TO(network.cluster_domain),
     {.format = Format::dns_name}},

    {"proxy.http", "", "Proxy for http:// pulls.", TO(proxy.http),
     {.format = Format::url, .may_be_empty = true, .reload = true}},
    {"proxy.https", "", "Proxy for https:// pulls.", TO(proxy.https),
     {.format = Format::url, .may_be_empty = true, .reload = true}},
    {"proxy.noProxy", "", "Hosts, domains (.example.com) and ranges reached directly.", TO(proxy.no_proxy),
     {.format = Format::text, .reload = true}},

    {"registries.mirrors", "", "Per registry, base URLs tried in order before the registry itself.",
     TO(registries.mirrors), {.format = Format::url, .key_format = Format::registry, .reload = true}},
    {"registries.insecure", "", "Registries spoken to over plain HTTP, or HTTPS with any certificate.",
     TO(registries.insecure), {.format = Format::registry, .reload = true}},
    {"registries.authFile", "", "Credentials in the form of Docker's config.json.", TO(registries.auth_file),
     {.format = Format::path, .may_be_empty = true, .reload = true}},
    {"registries.caFile", "", "Certificate authorities trusted for registries, PEM. Empty: the system's.",
     TO(registries.ca_file), {.format = Format::path, .may_be_empty = true, .reload = true}},

    {"runtime.kind", "auto", "OCI runtime: crun, runc, or auto for the first that works.", TO(runtime.kind),
     {.choices = "auto,crun,runc"}},
    {"runtime.path", "", "The runtime's program. Empty: found on the usual path.", TO(runtime.path), derived_path},

    {"logs.level", "info", "error, warning, notice, info or debug.", TO(logs.level),
     {.choices = "error,warning,notice,info,debug", .reload = true}},
    {"logs.dir", "/var/log/pods", "Where logs of containers go, in CRI format.", TO(logs.dir), path_rule},
    {"logs.containerMaxSize", "10Mi", "A container's log is rotated at this size.", TO(logs.container_max_bytes),
     {.number = Number::size, .min = 4096, .max = int64_t{1} << 40}},
    {"logs.containerMaxFiles", "5", "Log files kept per container.", TO(logs.container_max_files), {.min = 2, .max = 100}},
    {"logs.totalBudget", "256Mi", "All logs of containers together; beyond it the oldest rotated files go first.",
     TO(logs.total_bytes), {.number = Number::size, .min = 1 << 20, .max = int64_t{1} << 50}},

    {"images.archivesDir", "", "OCI archives here are imported at start and kept. Empty: images in dataDir.",
     TO(images.archives_dir), derived_path},
    {"images.gcHighPercent", "85", "Unused images are removed when the disk is this full.", TO(images.gc_high_percent),
     {.min = 1, .max = 100}},
    {"images.gcLowPercent", "80", "Removal goes on until the disk is this full.", TO(images.gc_low_percent),
     {.min = 1, .max = 100}},
    {"images.maxParallelPulls", "2", "Images pulled at once.", TO(images.max_parallel_pulls), {.min = 1, .max = 16}},

    {"limits.apiConnections", "64", "Connections to the API at once; more are refused with a reason.",
     TO(limits.api_connections), {.min = 4, .max = 65536}},
    {"limits.apiIdleTimeout", "3m", "A connection without a request is closed after this time.",
     TO(limits.api_idle_timeout_ms), {.number = Number::duration_ms, .min = 1000, .max = int64_t{24} * 3600 * 1000}},
};

#undef TO

}  // namespace

std::span<const Key> config_keys() { return keys; }

}  // namespace limpet::daemon

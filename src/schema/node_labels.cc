#include "schema/node_labels.h"

namespace limpet::schema {
namespace {

// k8s.io/kubelet/pkg/apis/well_known_labels.go
constexpr std::string_view kOwn[] = {
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
};

// Whether the prefix of a label is this domain or one below it.
bool below(std::string_view prefix, std::string_view domain) {
  if (!prefix.ends_with(domain)) return false;
  return prefix.size() == domain.size() || prefix[prefix.size() - domain.size() - 1] == '.';
}

std::string_view prefix_of(std::string_view key) {
  const size_t slash = key.find('/');
  return slash == std::string_view::npos ? std::string_view() : key.substr(0, slash);
}

}  // namespace

bool node_may_set_label(std::string_view key) {
  const std::string_view prefix = prefix_of(key);
  if (!below(prefix, "kubernetes.io") && !below(prefix, "k8s.io")) return true;
  if (below(prefix, "node-restriction.kubernetes.io")) return false;
  if (below(prefix, "kubelet.kubernetes.io") || below(prefix, "node.kubernetes.io")) return true;
  for (std::string_view own : kOwn) {
    if (key == own) return true;
  }
  return false;
}

bool is_role_label(std::string_view key) { return prefix_of(key) == "node-role.kubernetes.io"; }

}  // namespace limpet::schema

#include "api/compat.h"

namespace limpet::api {
namespace {

constexpr NotActedOn kTable[] = {
    {"", "Pod", "spec.affinity", "", "pods are placed by node name, node selector, taints and requests"},
    {"", "Pod", "spec.topologySpreadConstraints", "", "pods are not spread"},
    {"", "Pod", "spec.schedulingGates", "", "pods are scheduled at once"},
    {"", "Pod", "spec.runtimeClassName", "", "the device's runtime is used"},
    {"", "Pod", "spec.overhead", "", "no overhead is counted"},
    {"", "Pod", "spec.resourceClaims", "", "no devices are allocated"},
    {"", "Pod", "spec.resources", "", "resources count per container"},
    {"", "Pod", "spec.readinessGates", "", "readiness follows the containers alone"},
    {"", "Pod", "spec.hostUsers", "false", "the device's user namespace is shared"},
    {"", "Pod", "spec.setHostnameAsFQDN", "true", "the host name stays short"},
    {"", "Pod", "spec.shareProcessNamespace", "true", "each container sees its own processes"},
    {"", "Pod", "spec.hostnameOverride", "", "the host name follows hostname or the pod's name"},
    {"", "Pod", "spec.workloadRef", "", "pods are scheduled one by one"},
    {"", "Pod", "spec.securityContext.seLinuxOptions", "", "no SELinux labels are set"},
    {"", "Pod", "spec.securityContext.windowsOptions", "", "there are no Windows devices"},
    {"", "Pod", "spec.containers[].livenessProbe.grpc", "", "the probe is not run"},
    {"", "Pod", "spec.containers[].readinessProbe.grpc", "", "the probe is not run"},
    {"", "Pod", "spec.containers[].startupProbe.grpc", "", "the probe is not run"},
    {"", "Pod", "spec.containers[].volumeDevices", "", "no block devices are mapped"},
    {"", "Pod", "spec.containers[].resizePolicy", "", "resources are fixed when a container starts"},
    {"", "Pod", "spec.volumes[].persistentVolumeClaim", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].csi", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].ephemeral", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].nfs", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].iscsi", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].image", "", "the pod cannot start"},
};

bool used(json::Ref at, std::string_view path, std::string_view value) {
  if (path.empty()) {
    if (at.type() == json::Type::missing || at.is_null()) return false;
    if (value.empty()) return !(at.is_object() || at.is_array()) || at.size() > 0;
    return at.is_string() ? at.str() == value : at.dump() == value;
  }
  size_t dot = path.find('.');
  std::string_view head = path.substr(0, dot);
  std::string_view rest = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  if (!head.ends_with("[]")) return used(at[head], rest, value);
  for (json::Ref item : at[head.substr(0, head.size() - 2)]) {
    if (used(item, rest, value)) return true;
  }
  return false;
}

}  // namespace

std::span<const NotActedOn> not_acted_on() { return kTable; }

bool uses(json::Ref object, std::string_view path, std::string_view value) {
  return used(object, path, value);
}

void warn_not_acted_on(Call& call, const schema::Resource& r, json::Ref object) {
  const json::Ref pod = object["spec"]["template"];
  for (const NotActedOn& e : kTable) {
    std::string what;
    if (e.group == r.group() && e.kind == r.kind() && uses(object, e.path, e.value)) {
      what = e.path;
    } else if (e.kind == "Pod" && uses(pod, e.path, e.value)) {
      what = "spec.template." + std::string(e.path);
    } else {
      continue;
    }
    if (!e.value.empty()) what.append("=").append(e.value);
    call.warn(what + " is accepted, but not acted on yet: " + std::string(e.effect));
  }
}

std::string compatibility_document() {
  std::string out =
      "# Compatibility\n\n"
      "limpet serves the API of Kubernetes 1.35. The fields below are accepted, checked and stored, but not "
      "acted on\n"
      "yet; a write that uses one is answered with a `Warning:` header; what is said of Pod holds for pod "
      "templates,\n"
      "too. The list is made from `src/api/compat.cc`.\n\n"
      "| Kind | Field | What happens instead |\n|---|---|---|\n";
  for (const NotActedOn& e : kTable) {
    out.append("| ").append(qualified(e.kind, e.group)).append(" | `").append(e.path);
    if (!e.value.empty()) out.append(": ").append(e.value);
    out.append("` | ").append(e.effect).append(" |\n");
  }
  return out;
}

}  // namespace limpet::api

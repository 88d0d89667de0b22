#include "api/compat.h"

namespace limpet::api {
namespace {

constexpr NotActedOn kTable[] = {
    {"", "Pod", "spec.affinity.podAffinity", "",
     "pods are placed by node name, selector, node affinity, taints and requests"},
    {"", "Pod", "spec.affinity.podAntiAffinity", "",
     "pods are placed by node name, selector, node affinity, taints and requests"},
    {"", "Pod", "spec.topologySpreadConstraints", "", "pods are not spread"},
    {"", "Pod", "spec.runtimeClassName", "", "the device's runtime is used"},
    {"", "Pod", "spec.resourceClaims", "", "no devices are allocated"},
    {"", "Pod", "spec.resources", "", "resources count per container"},
    {"", "Pod", "spec.hostUsers", "false", "the device's user namespace is shared"},
    {"", "Pod", "spec.setHostnameAsFQDN", "true", "the host name stays short"},
    {"", "Pod", "spec.shareProcessNamespace", "true", "each container sees its own processes"},
    {"", "Pod", "spec.hostnameOverride", "", "the host name follows hostname or the pod's name"},
    {"", "Pod", "spec.workloadRef", "", "pods are scheduled one by one"},
    {"", "Pod", "spec.os.name", "windows", "there are no Windows devices"},
    {"", "Pod", "spec.automountServiceAccountToken", "true",
     "no token is mounted: name a projected volume with a serviceAccountToken"},
    {"", "Pod", "spec.securityContext.seLinuxOptions", "", "no SELinux labels are set"},
    {"", "Pod", "spec.securityContext.seLinuxChangePolicy", "", "no SELinux labels are set"},
    {"", "Pod", "spec.securityContext.appArmorProfile", "", "no AppArmor profile is set"},
    {"", "Pod", "spec.securityContext.windowsOptions", "", "there are no Windows devices"},
    {"", "Pod", "spec.securityContext.supplementalGroupsPolicy", "Strict",
     "the groups that the image gives the user are kept"},
    {"", "Pod", "spec.containers[].securityContext.seLinuxOptions", "", "no SELinux labels are set"},
    {"", "Pod", "spec.containers[].securityContext.appArmorProfile", "", "no AppArmor profile is set"},
    {"", "Pod", "spec.containers[].securityContext.windowsOptions", "", "there are no Windows devices"},
    {"", "Pod", "spec.containers[].restartPolicy", "Never", "the pod's restartPolicy counts"},
    {"", "Pod", "spec.containers[].restartPolicy", "OnFailure", "the pod's restartPolicy counts"},
    {"", "Pod", "spec.containers[].restartPolicy", "Always", "the pod's restartPolicy counts", "", true},
    {"", "Pod", "spec.containers[].restartPolicyRules", "", "the pod's restartPolicy counts"},
    {"", "Pod", "spec.containers[].volumeDevices", "", "no block devices are mapped"},
    {"", "Pod", "spec.containers[].resizePolicy", "", "resources are fixed when a container starts"},
    {"", "Pod", "spec.containers[].resources.claims", "", "no devices are allocated"},
    {"", "Pod", "spec.containers[].resources.limits.ephemeral-storage", "",
     "the container's use of disk is not limited"},
    {"", "Pod", "spec.containers[].env[].valueFrom.fileKeyRef", "", "the variable is not set"},
    {"", "Pod", "spec.ephemeralContainers[].targetContainerName", "", "the container sees its own processes"},
    {"", "Pod", "spec.volumes[].emptyDir.medium", "HugePages*", "the volume is on the device's disk"},
    {"", "Pod", "spec.volumes[].emptyDir.sizeLimit", "", "a volume on disk is not limited", "medium=Memory"},
    {"", "Pod", "spec.volumes[].projected.sources[].clusterTrustBundle", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].projected.sources[].podCertificate", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].persistentVolumeClaim", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].csi", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].ephemeral", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].nfs", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].iscsi", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].image", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].awsElasticBlockStore", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].azureDisk", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].azureFile", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].cephfs", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].cinder", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].fc", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].flexVolume", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].flocker", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].gcePersistentDisk", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].gitRepo", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].glusterfs", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].photonPersistentDisk", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].portworxVolume", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].quobyte", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].rbd", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].scaleIO", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].storageos", "", "the pod cannot start"},
    {"", "Pod", "spec.volumes[].vsphereVolume", "", "the pod cannot start"},
};

bool is_value(json::Ref at, std::string_view value) {
  const std::string text = at.is_string() ? std::string(at.str()) : at.dump();
  if (value.ends_with('*')) return std::string_view(text).starts_with(value.substr(0, value.size() - 1));
  return text == value;
}

bool used(json::Ref at, std::string_view path, const NotActedOn& e) {
  if (path.empty()) {
    if (at.type() == json::Type::missing || at.is_null()) return false;
    if (!e.value.empty()) return is_value(at, e.value);
    return !(at.is_object() || at.is_array()) || at.size() > 0;
  }
  const size_t dot = path.find('.');
  const std::string_view head = path.substr(0, dot);
  const std::string_view rest = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  if (rest.empty() && !e.unless.empty()) {
    const size_t equals = e.unless.find('=');
    if (at[e.unless.substr(0, equals)].str() == e.unless.substr(equals + 1)) return false;
  }
  if (!head.ends_with("[]")) return used(at[head], rest, e);
  const auto any = [&](std::string_view list) {
    for (json::Ref item : at[list]) {
      if (used(item, rest, e)) return true;
    }
    return false;
  };
  if (any(head.substr(0, head.size() - 2))) return true;
  return head == "containers[]" && !e.regular_only && (any("initContainers") || any("ephemeralContainers"));
}

}  // namespace

std::span<const NotActedOn> not_acted_on() { return kTable; }

bool uses(json::Ref object, const NotActedOn& entry) { return used(object, entry.path, entry); }

void warn_not_acted_on(Call& call, const schema::Resource& r, json::Ref object) {
  const json::Ref pod = object["spec"]["template"];
  for (const NotActedOn& e : kTable) {
    std::string what;
    if (e.group == r.group() && e.kind == r.kind() && uses(object, e)) {
      what = e.path;
    } else if (e.kind == "Pod" && uses(pod, e)) {
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
      "yet; a write that uses one is answered with a `Warning:` header. `spec.containers[]` stands for init "
      "and\n"
      "ephemeral containers too, and what is said of Pod holds for pod templates. The list is made from\n"
      "`src/api/compat.cc`; a test asks of every field in the schema of a pod's spec whether it is acted on "
      "or "
      "listed\n"
      "here.\n\n"
      "| Kind | Field | What happens instead |\n|---|---|---|\n";
  for (const NotActedOn& e : kTable) {
    out.append("| ").append(qualified(e.kind, e.group)).append(" | `").append(e.path);
    if (!e.value.empty()) out.append(": ").append(e.value);
    out.append("`");
    if (!e.unless.empty()) out.append(" (unless ").append(e.unless).append(")");
    if (e.regular_only) out.append(" (no sidecar)");
    out.append(" | ").append(e.effect).append(" |\n");
  }
  return out;
}

}  // namespace limpet::api

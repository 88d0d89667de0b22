#include <set>

#include "schema/checker.h"
#include "schema/quantity.h"

namespace limpet::schema {

namespace {

using Names = std::set<std::string, std::less<>>;

// What a container is checked against.
struct PodContext {
  Names volumes, devices;  // names; devices: those that may be used as block devices
  int64_t grace_seconds = 30;
  bool host_network = false;
  bool host_users = true;
};

void check_ports(Checker& c, const Path& p, json::Ref ports) {
  Names names;
  size_t i = 0;
  for (json::Ref port : ports) {
    const Path at = p.index(i++);
    const std::string_view name = port["name"].str();
    if (!name.empty()) {
      const Messages wrong = check_port_name(name);
      c.by(at.child("name"), name, wrong);
      if (wrong.empty() && !names.emplace(name).second) c.duplicate(at.child("name"), name);
    }
    const int64_t number = port["containerPort"].integer(), host = port["hostPort"].integer();
    if (number == 0) {
      c.required(at.child("containerPort"));
    } else if (!check_port_number(number).empty()) {
      c.invalid(at.child("containerPort"), number, message_range(1, 65535));
    }
    if (host != 0 && !check_port_number(host).empty()) {
      c.invalid(at.child("hostPort"), host, message_range(1, 65535));
    }
    c.one_of(at.child("protocol"), port["protocol"], {"SCTP", "TCP", "UDP"});
  }
}

void check_env_source(Checker& c, const Path& p, json::Ref env) {
  const json::Ref from = env["valueFrom"];
  int sources = 0;
  for (json::Ref source : from) {
    if (!source.is_object()) continue;
    sources++;
    const Path at = p.child(source.key());
    const std::string_view kind = source.key();
    if (kind == "fieldRef") {
      const std::string_view path = source["fieldPath"].str();
      static constexpr std::string_view kFields[] = {
          "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
          "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
      bool known = path.starts_with("metadata.labels['") || path.starts_with("metadata.annotations['");
      for (std::string_view f : kFields) known |= f == path;
      if (path.empty()) {
        c.required(at.child("fieldPath"));
      } else if (!known) {
        c.not_supported(
            at.child("fieldPath"), path,
            {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
             "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"});
      }
    } else if (kind == "resourceFieldRef") {
      if (source["resource"].str().empty()) c.required(at.child("resource"));
    } else if (kind == "configMapKeyRef" || kind == "secretKeyRef") {
      if (source["name"].str().empty()) {
        c.required(at.child("name"));
      } else {
        c.by(at.child("name"), source["name"].str(), check_dns1123_subdomain(source["name"].str()));
      }
      if (source["key"].str().empty()) {
        c.required(at.child("key"));
      } else {
        c.by(at.child("key"), source["key"].str(), check_config_map_key(source["key"].str()));
      }
    }
  }
  if (sources == 0) {
    c.invalid(p, "",
              "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
  } else if (!env["value"].str().empty()) {
    c.invalid(p, "", "may not be specified when `value` is not empty");
  } else if (sources > 1) {
    c.invalid(p, "", "may not have more than one field specified at a time");
  }
}

void check_env(Checker& c, const Path& p, json::Ref container) {
  size_t i = 0;
  for (json::Ref env : container["env"]) {
    const Path at = p.child("env").index(i++);
    const std::string_view name = env["name"].str();
    if (name.empty()) {
      c.required(at.child("name"));
    } else {
      c.by(at.child("name"), name, check_env_var_name(name));
    }
    if (env["valueFrom"].is_object()) check_env_source(c, at.child("valueFrom"), env);
  }
  i = 0;
  for (json::Ref from : container["envFrom"]) {
    const Path at = p.child("envFrom").index(i++);
    if (!from["prefix"].str().empty()) {
      c.by(at.child("prefix"), from["prefix"].str(), check_env_var_name(from["prefix"].str()));
    }
    int sources = 0;
    for (const char* kind : {"configMapRef", "secretRef"}) {
      if (!from[kind].is_object()) continue;
      sources++;
      const std::string_view name = from[kind]["name"].str();
      if (name.empty()) {
        c.required(at.child(kind).child("name"));
      } else {
        c.by(at.child(kind).child("name"), name, check_dns1123_subdomain(name));
      }
    }
    if (sources == 0) c.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`");
    if (sources > 1) c.invalid(at, "", "may not have more than one field specified at a time");
  }
}

void check_propagation(Checker& c, const Path& p, json::Ref mount, json::Ref container) {
  const json::Ref mode = mount["mountPropagation"];
  if (!mode) return;
  c.one_of(p, mode, {"Bidirectional", "HostToContainer", "None"});
  if (mode.str() == "Bidirectional" && !container["securityContext"]["privileged"].boolean()) {
    c.forbidden(p, "Bidirectional mount propagation is available only to privileged containers");
  }
}

void check_mounts(Checker& c, const Path& p, json::Ref container, const PodContext& pod) {
  Names paths, device_names, device_paths;
  for (json::Ref d : container["volumeDevices"]) {
    device_names.emplace(d["name"].str());
    device_paths.emplace(d["devicePath"].str());
  }
  const Path list = p.child("volumeMounts");
  size_t i = 0;
  for (json::Ref m : container["volumeMounts"]) {
    const Path at = list.index(i++);
    const std::string_view name = m["name"].str(), path = m["mountPath"].str();
    if (name.empty()) c.required(at.child("name"));
    if (!pod.volumes.contains(name)) c.not_found(at.child("name"), name);
    if (path.empty()) c.required(at.child("mountPath"));
    if (!paths.emplace(path).second) c.invalid(at.child("mountPath"), path, "must be unique");
    if (device_names.contains(name))
      c.invalid(at.child("name"), name, "must not already exist in volumeDevices");
    if (device_paths.contains(path)) {
      c.invalid(at.child("mountPath"), path, "must not already exist as a path in volumeDevices");
    }
    if (!m["subPath"].str().empty()) check_local_path(c, list.child("subPath"), m["subPath"].str());
    if (const std::string_view expr = m["subPathExpr"].str(); !expr.empty()) {
      if (!m["subPath"].str().empty()) {
        c.invalid(at.child("subPathExpr"), expr, "subPathExpr and subPath are mutually exclusive");
      }
      check_local_path(c, list.child("subPathExpr"), expr);
    }
    check_propagation(c, list.child("mountPropagation"), m, container);
    if (const json::Ref mode = m["recursiveReadOnly"]; mode && mode.str() != "Disabled") {
      c.one_of(list.child("recursiveReadOnly"), mode, {"Disabled", "Enabled", "IfPossible"});
      if (!m["readOnly"].boolean()) {
        c.forbidden(list.child("recursiveReadOnly"), "may only be specified when readOnly is true");
      }
    }
  }
}

void check_devices(Checker& c, const Path& p, json::Ref container, const PodContext& pod) {
  Names names, paths;
  size_t i = 0;
  for (json::Ref d : container["volumeDevices"]) {
    const Path at = p.child("volumeDevices").index(i++);
    const std::string_view name = d["name"].str(), path = d["devicePath"].str();
    if (name.empty()) c.required(at.child("name"));
    if (!names.emplace(name).second) c.invalid(at.child("name"), name, "must be unique");
    if (!pod.volumes.contains(name)) {
      c.not_found(at.child("name"), name);
    } else if (!pod.devices.contains(name)) {
      c.invalid(at.child("name"), name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    }
    if (path.empty()) c.required(at.child("devicePath"));
    if (!paths.emplace(path).second) c.invalid(at.child("devicePath"), path, "must be unique");
    no_backsteps(c, at.child("devicePath"), path);
  }
}

Quantity quantity_of(json::Ref v) {
  return Quantity::parse_or_zero(v.is_string() ? v.str() : std::string_view(v.dump()));
}

// Names without a domain are those the system itself defines.
void check_resource_name(Checker& c, const Path& p, std::string_view name) {
  c.by(p, name, check_qualified_name(name));
  if (name.find('/') == std::string_view::npos && name != "cpu" && name != "memory" &&
      name != "ephemeral-storage" && !name.starts_with("hugepages-")) {
    c.invalid(p, name, "must be a standard resource for containers");
  }
}

void check_resource(Checker& c, const Path& p, json::Ref value) {
  check_resource_name(c, p, value.key());
  const Quantity q = quantity_of(value);
  if (q.sign() < 0) c.invalid(p, q.str(), "must be greater than or equal to 0");
  const std::string_view name = value.key();
  const bool whole = name.find('/') != std::string_view::npos || name.starts_with("hugepages-");
  if (whole && !q.is_integer()) c.invalid(p, q.str(), "must be an integer");
}

void check_resources(Checker& c, const Path& p, json::Ref resources) {
  const json::Ref limits = resources["limits"];
  for (json::Ref limit : limits) check_resource(c, p.child("limits").key(limit.key()), limit);
  for (json::Ref request : resources["requests"]) {
    const std::string name(request.key());
    check_resource(c, p.child("requests").key(name), request);
    const json::Ref limit = limits[name];
    const bool overcommit = name.find('/') == std::string::npos && !name.starts_with("hugepages-");
    if (!limit) {
      if (!overcommit) c.required(p.child("limits"), "Limit must be set for non overcommitable resources");
      continue;
    }
    const Quantity a = quantity_of(request), b = quantity_of(limit);
    if (!overcommit && a != b) {
      c.invalid(p.child("requests"), a.str(), "must be equal to " + name + " limit of " + b.str());
    } else if (a > b) {
      c.invalid(p.child("requests"), a.str(),
                "must be less than or equal to " + name + " limit of " + b.str());
    }
  }
}

void check_security(Checker& c, const Path& p, json::Ref sc, const PodContext& pod) {
  for (const char* id : {"runAsUser", "runAsGroup"}) {
    if (sc[id] && !check_user_id(sc[id].integer()).empty()) {
      c.invalid(p.child(id), sc[id].integer(), message_range(0, INT32_MAX));
    }
  }
  if (const json::Ref mount = sc["procMount"]) {
    c.one_of(p.child("procMount"), mount, {"Default", "Unmasked"});
    if (pod.host_users && mount.str() == "Unmasked") {
      c.invalid(p.child("procMount"), mount, "`hostUsers` must be false to use `Unmasked`");
    }
  }
  if (const json::Ref seccomp = sc["seccompProfile"]; seccomp.is_object()) {
    c.one_of(p.child("seccompProfile").child("type"), seccomp["type"],
             {"Localhost", "RuntimeDefault", "Unconfined"});
    const std::string_view local = seccomp["localhostProfile"].str();
    const Path at = p.child("seccompProfile").child("localhostProfile");
    if (seccomp["type"].str() == "Localhost") {
      if (local.empty()) {
        c.required(at, "must be set when seccomp type is Localhost");
      } else {
        check_local_path(c, at, local);
      }
    } else if (!local.empty()) {
      c.invalid(at, local, "can only be set when seccomp type is Localhost");
    }
  }
  const json::Ref escalate = sc["allowPrivilegeEscalation"];
  if (!escalate || escalate.boolean()) return;
  if (sc["privileged"].boolean()) {
    c.invalid(p, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  }
  for (json::Ref cap : sc["capabilities"]["add"]) {
    if (cap.str() == "CAP_SYS_ADMIN") {
      c.invalid(p, sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
  }
}

void check_port_or_name(Checker& c, const Path& p, json::Ref port) {
  if (port.is_string()) {
    c.by(p, port.str(), check_port_name(port.str()));
  } else if (!check_port_number(port.integer()).empty()) {
    c.invalid(p, port.integer(), message_range(1, 65535));
  }
}

// Of a probe, or of a lifecycle hook.
void check_handler(Checker& c, const Path& p, json::Ref handler, const PodContext& pod) {
  int handlers = 0;
  for (const char* kind : {"exec", "httpGet", "tcpSocket", "grpc", "sleep"}) {
    const json::Ref h = handler[kind];
    if (!h.is_object()) continue;
    const Path at = p.child(kind);
    const std::string_view k = kind;
    if (++handlers > 1) {
      c.forbidden(at, "may not specify more than 1 handler type");
    } else if (k == "exec") {
      if (h["command"].size() == 0) c.required(at.child("command"));
    } else if (k == "httpGet") {
      if (h["path"].str().empty()) c.required(at.child("path"));
      check_port_or_name(c, at.child("port"), h["port"]);
      if (h["scheme"].str() != "HTTP" && h["scheme"].str() != "HTTPS") {
        c.not_supported(at.child("scheme"), h["scheme"].str(), {"HTTP", "HTTPS"});
      }
      for (json::Ref header : h["httpHeaders"]) {
        c.by(at.child("httpHeaders"), header["name"].str(), check_http_header_name(header["name"].str()));
      }
    } else if (k == "sleep") {
      const int64_t seconds = h["seconds"].integer();
      if (seconds < 0 || seconds > pod.grace_seconds) {
        c.invalid(at, seconds,
                  "must be non-negative and less than terminationGracePeriodSeconds (" +
                      std::to_string(pod.grace_seconds) + ")");
      }
    } else {
      check_port_or_name(c, at.child("port"), h["port"]);
    }
  }
  if (handlers == 0) c.required(p, "must specify a handler type");
}

void check_probe(Checker& c, const Path& p, json::Ref probe, const PodContext& pod, bool success_one) {
  if (!probe.is_object()) return;
  check_handler(c, p, probe, pod);
  for (const char* field :
       {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}) {
    c.non_negative(p.child(field), probe[field]);
  }
  const json::Ref grace = probe["terminationGracePeriodSeconds"];
  if (grace && grace.integer() <= 0) {
    c.invalid(p.child("terminationGracePeriodSeconds"), grace.integer(), "must be greater than 0");
  }
  if (success_one && probe["successThreshold"].integer(1) != 1) {
    c.invalid(p.child("successThreshold"), probe["successThreshold"].integer(), "must be 1");
  }
  if (!success_one && grace) {
    c.invalid(p.child("terminationGracePeriodSeconds"), grace.integer(),
              "must not be set for readinessProbes");
  }
}

void check_common(Checker& c, const Path& p, json::Ref container, const PodContext& pod) {
  const std::string_view name = container["name"].str(), image = container["image"].str();
  if (name.empty()) {
    c.required(p.child("name"));
  } else {
    c.by(p.child("name"), name, check_dns1123_label(name));
  }
  if (image.empty()) {
    c.required(p.child("image"));
  } else if (isspace(static_cast<unsigned char>(image.front())) ||
             isspace(static_cast<unsigned char>(image.back()))) {
    c.invalid(p.child("image"), image, "must not have leading or trailing whitespace");
  }
  c.one_of(p.child("terminationMessagePolicy"), container["terminationMessagePolicy"],
           {"FallbackToLogsOnError", "File"});
  check_ports(c, p.child("ports"), container["ports"]);
  check_env(c, p, container);
  check_mounts(c, p, container, pod);
  check_devices(c, p, container, pod);
  c.one_of(p.child("imagePullPolicy"), container["imagePullPolicy"], {"Always", "IfNotPresent", "Never"});
  check_resources(c, p.child("resources"), container["resources"]);
  if (container["securityContext"].is_object()) {
    check_security(c, p.child("securityContext"), container["securityContext"], pod);
  }
  if (!pod.host_network) return;
  size_t i = 0;
  for (json::Ref port : container["ports"]) {
    const Path at = p.child("ports").index(i++);
    const int64_t number = port["containerPort"].integer();
    if (port["hostPort"].integer() != number) {
      c.invalid(at.child("hostPort"), port["hostPort"].integer(),
                "must match `containerPort` when `hostNetwork` is true");
    }
  }
}

void check_life(Checker& c, const Path& p, json::Ref container, const PodContext& pod) {
  for (const char* hook : {"postStart", "preStop"}) {
    const json::Ref h = container["lifecycle"][hook];
    if (h.is_object()) check_handler(c, p.child("lifecycle").child(hook), h, pod);
  }
  check_probe(c, p.child("livenessProbe"), container["livenessProbe"], pod, true);
  check_probe(c, p.child("readinessProbe"), container["readinessProbe"], pod, false);
  check_probe(c, p.child("startupProbe"), container["startupProbe"], pod, true);
}

void check_host_ports(Checker& c, const Path& p, json::Ref container, Names& taken) {
  size_t i = 0;
  for (json::Ref port : container["ports"]) {
    const Path at = p.child("ports").index(i++);
    if (port["hostPort"].integer() == 0) continue;
    const std::string key = std::string(port["protocol"].str()) + "/" + std::string(port["hostIP"].str()) +
                            "/" + std::to_string(port["hostPort"].integer());
    if (!taken.insert(key).second) c.duplicate(at.child("hostPort"), key);
  }
}

void check_init_container(Checker& c, const Path& p, json::Ref container, const PodContext& pod) {
  check_common(c, p, container, pod);
  if (const json::Ref policy = container["restartPolicy"]) {
    c.one_of(p.child("restartPolicy"), policy, {"Always", "Never", "OnFailure"});
  }
  if (container["restartPolicy"].str() == "Always") {  // a sidecar lives as a container does
    check_life(c, p, container, pod);
    return;
  }
  for (const char* field : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}) {
    if (container[field].is_object()) {
      c.forbidden(p.child(field), "may not be set for init containers without restartPolicy=Always");
    }
  }
  Names host_ports;
  check_host_ports(c, p, container, host_ports);
}

void check_ephemeral(Checker& c, const Path& p, json::Ref container, json::Ref spec, const PodContext& pod,
                     const Names& names) {
  check_common(c, p, container, pod);
  for (const char* field : {"ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle",
                            "resources", "resizePolicy", "restartPolicy"}) {
    const json::Ref v = container[field];
    if (v && (v.is_string() || v.size() > 0))
      c.forbidden(p.child(field), "cannot be set for an Ephemeral Container");
  }
  const std::string_view target = container["targetContainerName"].str();
  if (!target.empty() && !names.contains(target)) c.not_found(p.child("targetContainerName"), target);
  size_t i = 0;
  for (json::Ref m : container["volumeMounts"]) {
    const Path at = p.child("volumeMounts").index(i++);
    if (!m["subPath"].str().empty())
      c.forbidden(at.child("subPath"), "cannot be set for an Ephemeral Container");
    if (!m["subPathExpr"].str().empty())
      c.forbidden(at.child("subPathExpr"), "cannot be set for an Ephemeral Container");
  }
  (void)spec;
}

PodContext context_of(json::Ref spec) {
  PodContext pod;
  for (json::Ref v : spec["volumes"]) {
    pod.volumes.emplace(v["name"].str());
    if (v["persistentVolumeClaim"] || v["ephemeral"]) pod.devices.emplace(v["name"].str());
  }
  pod.grace_seconds = spec["terminationGracePeriodSeconds"].integer(30);
  pod.host_network = spec["hostNetwork"].boolean();
  pod.host_users = spec["hostUsers"].boolean(true);
  return pod;
}

}  // namespace

void check_containers(Checker& c, const Path& p, json::Ref spec) {
  const PodContext pod = context_of(spec);
  Names names, host_ports;
  size_t i = 0;
  if (spec["containers"].size() == 0) c.required(p.child("containers"));
  for (json::Ref container : spec["containers"]) {
    const Path at = p.child("containers").index(i++);
    check_common(c, at, container, pod);
    if (!names.emplace(container["name"].str()).second)
      c.duplicate(at.child("name"), container["name"].str());
    check_life(c, at, container, pod);
    if (const json::Ref policy = container["restartPolicy"]) {
      c.one_of(at.child("restartPolicy"), policy, {"Always", "Never", "OnFailure"});
    }
    check_host_ports(c, at, container, host_ports);
  }
  i = 0;
  for (json::Ref container : spec["initContainers"]) {
    const Path at = p.child("initContainers").index(i++);
    check_init_container(c, at, container, pod);
    if (!names.emplace(container["name"].str()).second)
      c.duplicate(at.child("name"), container["name"].str());
  }
  const Names targets = names;
  i = 0;
  for (json::Ref container : spec["ephemeralContainers"]) {
    const Path at = p.child("ephemeralContainers").index(i++);
    if (!names.emplace(container["name"].str()).second)
      c.duplicate(at.child("name"), container["name"].str());
    check_ephemeral(c, at, container, spec, pod, targets);
  }
}

}  // namespace limpet::schema

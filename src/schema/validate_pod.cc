#include <set>

#include "schema/checker.h"
#include "schema/quantity.h"

namespace limpet::schema {

namespace {

void check_dns(Checker& c, const Path& p, json::Ref spec) {
  c.one_of(p.child("dnsPolicy"), spec["dnsPolicy"],
           {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"});
  const json::Ref config = spec["dnsConfig"];
  const Path at = p.child("dnsConfig");
  if (spec["dnsPolicy"].str() == "None" && config["nameservers"].size() == 0) {
    if (!config.is_object()) {
      c.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
      return;
    }
    c.required(at.child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
  if (config["nameservers"].size() > 3) {
    c.invalid(at.child("nameservers"), config["nameservers"], "must not have more than 3 nameservers");
  }
  size_t i = 0;
  for (json::Ref n : config["nameservers"])
    c.by(at.child("nameservers").index(i++), n.str(), check_ip(n.str()));
  if (config["searches"].size() > 32) {
    c.invalid(at.child("searches"), config["searches"], "must not have more than 32 search paths");
  }
  i = 0;
  size_t characters = 0;
  for (json::Ref s : config["searches"]) {
    const Path here = at.child("searches").index(i++);
    std::string_view name = s.str();
    characters += name.size() + 1;
    if (name == ".") continue;
    if (name.ends_with('.')) name.remove_suffix(1);
    c.by(here, name, check_dns1123_subdomain_underscore(name));
  }
  if (characters > 2049) {
    c.invalid(at.child("searches"), config["searches"],
              "must not have more than 2048 characters (including spaces) in the search list");
  }
  i = 0;
  for (json::Ref o : config["options"]) {
    const Path here = at.child("options").index(i++);
    if (o["name"].str().empty()) c.required(here, "must not be empty");
  }
}

bool sysctl_name(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  bool start = true;  // of a segment
  for (char ch : name) {
    const bool word = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
    if (ch == '.' || ch == '/') {
      if (start) return false;
      start = true;
    } else if (word) {
      start = false;
    } else if ((ch != '-' && ch != '_') || start) {
      return false;
    }
  }
  return !start;
}

void check_security(Checker& c, const Path& p, json::Ref spec) {
  const json::Ref sc = spec["securityContext"];
  for (const char* id : {"runAsUser", "runAsGroup", "fsGroup"}) {
    if (sc[id] && !check_user_id(sc[id].integer()).empty()) {
      c.invalid(p.child(id), sc[id].integer(), message_range(0, INT32_MAX));
    }
  }
  size_t i = 0;
  for (json::Ref g : sc["supplementalGroups"]) {
    const Path at = p.child("supplementalGroups").index(i++);
    if (!check_user_id(g.integer()).empty()) c.invalid(at, g.integer(), message_range(0, INT32_MAX));
  }
  if (const json::Ref v = sc["fsGroupChangePolicy"]) {
    c.one_of(p.child("fsGroupChangePolicy"), v, {"Always", "OnRootMismatch"});
  }
  if (const json::Ref v = sc["supplementalGroupsPolicy"]) {
    c.one_of(p.child("supplementalGroupsPolicy"), v, {"Merge", "Strict"});
  }
  std::set<std::string> names;
  i = 0;
  for (json::Ref s : sc["sysctls"]) {
    const Path at = p.child("sysctls").index(i++).child("name");
    const std::string_view name = s["name"].str();
    if (name.empty()) {
      c.required(at);
    } else if (!sysctl_name(name)) {
      c.invalid(at, name,
                "must have at most 253 characters and match regex "
                "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
    } else if (!names.emplace(name).second) {
      c.duplicate(at, name);
    }
    if (spec["hostNetwork"].boolean() && name.starts_with("net.")) {
      c.invalid(at, name, "may not be specified when 'hostNetwork' is true");
    }
    if (spec["hostIPC"].boolean() && (name.starts_with("kernel.shm") || name.starts_with("kernel.msg") ||
                                      name == "kernel.sem" || name.starts_with("fs.mqueue."))) {
      c.invalid(at, name, "may not be specified when 'hostIPC' is true");
    }
  }
  if (spec["shareProcessNamespace"].boolean() && spec["hostPID"].boolean()) {
    c.invalid(p.child("shareProcessNamespace"), spec["shareProcessNamespace"],
              "ShareProcessNamespace and HostPID cannot both be enabled");
  }
  if (spec["hostUsers"].boolean(true)) return;
  for (const char* ns : {"hostNetwork", "hostPID", "hostIPC"}) {
    if (spec[ns].boolean()) c.forbidden(p.child(ns), "when `hostUsers` is false");
  }
}

void check_names(Checker& c, const Path& p, json::Ref spec) {
  struct Rule {
    const char* field;
    NameCheck check;
  };
  for (const Rule& r :
       {Rule{"serviceAccountName", check_dns1123_subdomain}, Rule{"nodeName", check_dns1123_subdomain},
        Rule{"hostname", check_dns1123_label}, Rule{"subdomain", check_dns1123_label},
        Rule{"priorityClassName", check_dns1123_subdomain},
        Rule{"runtimeClassName", check_dns1123_subdomain}}) {
    const std::string_view v = spec[r.field].str();
    if (!v.empty()) c.by(p.child(r.field), v, r.check(v));
  }
  size_t i = 0;
  for (json::Ref s : spec["imagePullSecrets"]) {
    const Path at = p.child("imagePullSecrets").index(i++);
    if (!s["name"].str().empty())
      c.by(at.child("name"), s["name"].str(), check_dns1123_subdomain(s["name"].str()));
  }
  i = 0;
  for (json::Ref h : spec["hostAliases"]) {
    const Path at = p.child("hostAliases").index(i++);
    c.by(at.child("ip"), h["ip"].str(), check_ip(h["ip"].str()));
    size_t j = 0;
    for (json::Ref n : h["hostnames"])
      c.by(at.child("hostnames").index(j++), n.str(), check_dns1123_subdomain(n.str()));
  }
  i = 0;
  for (json::Ref g : spec["readinessGates"]) {
    const Path at = p.child("readinessGates").index(i++).child("conditionType");
    c.by(at, g["conditionType"].str(), check_qualified_name(g["conditionType"].str()));
  }
  std::set<std::string> gates;
  i = 0;
  for (json::Ref g : spec["schedulingGates"]) {
    const Path at = p.child("schedulingGates").index(i++);
    if (g["name"].str().empty()) {
      c.required(at.child("name"));
      continue;
    }
    c.by(at.child("name"), g["name"].str(), check_qualified_name(g["name"].str()));
    if (!gates.emplace(g["name"].str()).second) c.duplicate(at.child("name"), g["name"].str());
  }
}

void check_spec(Checker& c, const Path& p, json::Ref spec) {
  if (!spec["terminationGracePeriodSeconds"]) c.required(p.child("terminationGracePeriodSeconds"));
  check_volumes(c, p.child("volumes"), spec["volumes"]);
  check_containers(c, p, spec);
  c.one_of(p.child("restartPolicy"), spec["restartPolicy"], {"Always", "OnFailure", "Never"});
  check_dns(c, p, spec);
  check_labels(c, p.child("nodeSelector"), spec["nodeSelector"]);
  check_security(c, p.child("securityContext"), spec);
  check_names(c, p, spec);
  if (spec["affinity"].is_object()) check_affinity(c, p.child("affinity"), spec["affinity"]);
  check_topology_spread(c, p.child("topologySpreadConstraints"), spec["topologySpreadConstraints"]);
  check_tolerations(c, p.child("tolerations"), spec["tolerations"]);
  if (const json::Ref deadline = spec["activeDeadlineSeconds"]) {
    if (deadline.integer() < 1 || deadline.integer() > INT32_MAX) {
      c.invalid(p.child("activeDeadlineSeconds"), deadline.integer(), message_range(1, INT32_MAX));
    }
  }
  if (const json::Ref policy = spec["preemptionPolicy"]) {
    c.one_of(p.child("preemptionPolicy"), policy, {"PreemptLowerPriority", "Never"});
  }
  if (const json::Ref os = spec["os"]; os.is_object())
    c.one_of(p.child("os").child("name"), os["name"], {"linux", "windows"});
}

// ---- updates
// --------------------------------------------------------------------------------------------------

constexpr const char* kMayChange =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

// Container lists of the same length, images that are names. False: nothing more to compare.
bool check_same_containers(Checker& c, const char* list, json::Ref spec, json::Ref old) {
  if (spec[list].size() == old[list].size()) return true;
  c.forbidden(Path("spec").child(list), "pod updates may not add or remove containers");
  return false;
}

void check_deadline_change(Checker& c, json::Ref spec, json::Ref old) {
  const Path at("spec.activeDeadlineSeconds");
  const json::Ref now = spec["activeDeadlineSeconds"], before = old["activeDeadlineSeconds"];
  if (now && before && now.integer() > before.integer()) {
    c.invalid(at, now.integer(), "must be less than or equal to previous value");
  } else if (!now && before) {
    c.invalid(at, json::Ref(), "must not update from a positive integer to nil value");
  }
}

void check_toleration_change(Checker& c, json::Ref spec, json::Ref old) {
  auto plain = [](json::Ref t) {
    json::Value v = t.clone();
    v.ref().remove("tolerationSeconds");
    return v;
  };
  for (json::Ref before : old["tolerations"]) {
    const json::Value wanted = plain(before);
    bool found = false;
    for (json::Ref now : spec["tolerations"]) found = found || plain(now).ref().equals(wanted);
    if (!found) {
      c.forbidden(Path("spec.tolerations"),
                  "existing toleration can not be modified except its tolerationSeconds");
      return;
    }
  }
}

void check_gate_change(Checker& c, json::Ref spec, json::Ref old) {
  std::set<std::string> before;
  for (json::Ref g : old["schedulingGates"]) before.emplace(g["name"].str());
  size_t i = 0;
  for (json::Ref g : spec["schedulingGates"]) {
    const Path at = Path("spec.schedulingGates").index(i++).child("name");
    if (!before.contains(std::string(g["name"].str()))) {
      c.forbidden(at, "only deletion is allowed, but found new scheduling gate '" +
                          std::string(g["name"].str()) + "'");
    }
  }
}

// A copy of the new spec with everything that may change put back.
json::Value put_back(json::Ref spec, json::Ref old) {
  json::Value copy = spec.clone();
  json::Ref out = copy.ref();
  for (const char* list : {"containers", "initContainers"}) {
    size_t i = 0;
    for (json::Ref container : out[list]) {
      const json::Ref image = old[list].at(i++)["image"];
      if (image) container.set("image", image.clone());
    }
  }
  for (const char* field : {"activeDeadlineSeconds", "schedulingGates", "tolerations"}) {
    out.remove(field);
    if (old[field]) out.set(field, old[field].clone());
  }
  const json::Ref grace = old["terminationGracePeriodSeconds"];
  if (grace && grace.integer() < 0 && out["terminationGracePeriodSeconds"].integer() == 1) {
    out.set("terminationGracePeriodSeconds", grace.clone());
  }
  // A gated pod may still be narrowed: more node selector entries, another node affinity.
  if (old["schedulingGates"].size() > 0) {
    for (json::Ref l : old["nodeSelector"]) {
      if (!out["nodeSelector"][l.key()].equals(l)) return copy;
    }
    for (const char* field : {"nodeSelector", "affinity"}) {
      out.remove(field);
      if (old[field]) out.set(field, old[field].clone());
    }
  }
  return copy;
}

// Names of the members that differ, for the message.
std::string differing(json::Ref a, json::Ref b) {
  std::set<std::string> names;
  for (json::Ref m : a) {
    const json::Ref other = b[m.key()];
    if (!other || !m.equals(other)) names.emplace(m.key());
  }
  for (json::Ref m : b) {
    if (!a[m.key()]) names.emplace(m.key());
  }
  std::string out;
  for (const std::string& n : names) out += (out.empty() ? "" : ", ") + ("spec." + n);
  return out;
}

}  // namespace

void check_pod_create(Checker& c, json::Ref pod) {
  const Path p("spec");
  check_spec(c, p, pod["spec"]);
  if (pod["spec"]["ephemeralContainers"].size() > 0) {
    c.forbidden(p.child("ephemeralContainers"), "cannot be set on create");
  }
  if (!pod["spec"]["nodeName"].str().empty() && pod["spec"]["schedulingGates"].size() > 0) {
    c.forbidden(p.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
  }
}

void check_pod_template(Checker& c, const Path& p, json::Ref pod_template) {
  check_labels(c, p.child("labels"), pod_template["metadata"]["labels"]);
  check_annotations(c, p.child("annotations"), pod_template["metadata"]["annotations"]);
  check_spec(c, p.child("spec"), pod_template["spec"]);
  if (pod_template["spec"]["ephemeralContainers"].size() > 0) {
    c.forbidden(p.child("spec").child("ephemeralContainers"),
                "ephemeral containers not allowed in pod template");
  }
}

void check_pod_ephemeral(Checker& c, json::Ref pod) { check_spec(c, Path("spec"), pod["spec"]); }

void check_pod_update(Checker& c, json::Ref pod, json::Ref old_pod) {
  const json::Ref spec = pod["spec"], old = old_pod["spec"];
  check_spec(c, Path("spec"), spec);
  if (!check_same_containers(c, "containers", spec, old)) return;
  if (!check_same_containers(c, "initContainers", spec, old)) return;
  check_deadline_change(c, spec, old);
  check_toleration_change(c, spec, old);
  check_gate_change(c, spec, old);
  if (spec.equals(old)) return;
  const json::Value comparable = put_back(spec, old);
  if (!comparable.ref().equals(old)) {
    c.forbidden(Path("spec"), std::string(kMayChange) + "\nchanged: " + differing(comparable, old));
  }
}

void check_pod_status(Checker& c, json::Ref pod, json::Ref old) {
  const json::Ref status = pod["status"];
  const Path p("status");
  if (!status["nominatedNodeName"].str().empty()) {
    const std::string_view name = status["nominatedNodeName"].str();
    c.by(p.child("nominatedNodeName"), name, check_dns1123_subdomain(name));
  }
  if (pod["spec"]["nodeName"].str() != old["spec"]["nodeName"].str()) {
    c.forbidden(p.child("nodeName"), "may not be changed directly");
  }
  std::set<std::string> types;
  size_t i = 0;
  for (json::Ref condition : status["conditions"]) {
    const Path at = p.child("conditions").index(i++);
    const std::string_view type = condition["type"].str();
    if (type.empty()) c.required(at.child("type"));
    if (!types.emplace(type).second) c.duplicate(at.child("type"), type);
  }
  i = 0;
  for (json::Ref ip : status["podIPs"]) {
    const Path at = p.child("podIPs").index(i++);
    c.by(at, ip["ip"].str(), check_ip(ip["ip"].str()));
  }
  // A pod that is over stays so.
  const std::string_view before = old["status"]["phase"].str(), now = status["phase"].str();
  if ((before == "Succeeded" || before == "Failed") && now != before) {
    c.forbidden(p.child("phase"), "may not change from " + std::string(before) + " to " + std::string(now));
  }
}

}  // namespace limpet::schema

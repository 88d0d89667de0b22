#include "node/pod/container_config.h"

#include <algorithm>

#include "node/pod/volumes.h"
#include "node/runtime/image_config.h"
#include "schema/quantity.h"

namespace limpet::node {

namespace {

using json::Cursor;

int64_t amount(Cursor list, const char* name, bool milli) {
  const Cursor v = list[name];
  if (!v) return 0;
  const auto q =
      schema::Quantity::parse_or_zero(v.type() == json::Type::string ? v.str() : std::string(v.raw()));
  return milli ? q.milli_value() : q.value();
}

std::vector<std::string> strings(Cursor list) {
  std::vector<std::string> out;
  list.each([&](std::string_view, Cursor v) {
    out.push_back(v.str());
    return true;
  });
  return out;
}

// A field of the container's security context, else of the pod's.
Cursor either(Cursor container, Cursor pod, const char* field) {
  const Cursor own = container["securityContext"][field];
  return own ? own : pod["spec"]["securityContext"][field];
}

void set_user(Cursor pod, Cursor c, const ImageConfig& image, ContainerConfig* out) {
  out->user = image.user;
  if (const Cursor uid = either(c, pod, "runAsUser")) out->user = std::to_string(uid.integer());
  out->run_as_group = either(c, pod, "runAsGroup").integer(-1);
  out->run_as_non_root = either(c, pod, "runAsNonRoot").boolean();
  const Cursor context = pod["spec"]["securityContext"];
  context["supplementalGroups"].each([&](std::string_view, Cursor g) {
    out->supplemental_groups.push_back(static_cast<uint32_t>(g.integer()));
    return true;
  });
  if (context["fsGroup"])
    out->supplemental_groups.push_back(static_cast<uint32_t>(context["fsGroup"].integer()));
}

Result<> set_seccomp(Cursor pod, Cursor c, const ContainerInputs& in, ContainerConfig* out) {
  const Cursor profile = either(c, pod, "seccompProfile");
  const std::string type = profile["type"].str("RuntimeDefault");
  if (type == "Unconfined") out->seccomp_unconfined = true;
  if (type != "Localhost") return {};
  const std::string name = profile["localhostProfile"].str();
  const auto it = in.localhost_profiles.find(name);
  if (it == in.localhost_profiles.end()) {
    return fail(Errc::not_found,
                "cannot load seccomp profile \"" + name + "\": not found below the seccomp directory");
  }
  out->seccomp_profile_json = it->second;
  return {};
}

Result<> set_security(Cursor pod, Cursor c, const ContainerInputs& in, ContainerConfig* out) {
  const Cursor context = c["securityContext"];
  out->privileged = context["privileged"].boolean();
  out->allow_privilege_escalation = context["allowPrivilegeEscalation"].boolean(true);
  out->read_only_root = context["readOnlyRootFilesystem"].boolean();
  out->unmasked_proc = context["procMount"].str_equals("Unmasked");
  out->add_capabilities = strings(context["capabilities"]["add"]);
  out->drop_capabilities = strings(context["capabilities"]["drop"]);
  return set_seccomp(pod, c, in, out);
}

BindMount::Propagation propagation(Cursor mount) {
  const std::string p = mount["mountPropagation"].str();
  return p == "Bidirectional"     ? BindMount::Propagation::bidirectional
         : p == "HostToContainer" ? BindMount::Propagation::host_to_container
                                  : BindMount::Propagation::none;
}

Cursor volume_of(Cursor pod, const std::string& name) {
  Cursor found;
  pod["spec"]["volumes"].each([&](std::string_view, Cursor v) {
    if (v["name"].str_equals(name)) found = v;
    return !found;
  });
  return found;
}

Result<> set_volume_mounts(Cursor pod, Cursor c, const ContainerInputs& in, const Env& env,
                           ContainerConfig* out) {
  Result<> outcome;
  c["volumeMounts"].each([&](std::string_view, Cursor m) {
    const std::string name = m["name"].str();
    const auto it = in.volumes.find(name);
    if (it == in.volumes.end()) {
      outcome = fail(Errc::not_found, "volume \"" + name + "\" of the container is not ready");
      return false;
    }
    BindMount b;
    b.source = it->second;
    b.target = m["mountPath"].str();
    if (!b.target.starts_with("/")) b.target = "/" + b.target;
    b.sub_path = m["subPathExpr"] ? expand(m["subPathExpr"].str(), env) : m["subPath"].str();
    b.read_only = m["readOnly"].boolean() || holds_written_files(volume_of(pod, name));
    const std::string recursive = m["recursiveReadOnly"].str();
    b.recursive_read_only = recursive == "Enabled"      ? BindMount::Recursive::yes
                            : recursive == "IfPossible" ? BindMount::Recursive::if_possible
                                                        : BindMount::Recursive::no;
    b.propagation = propagation(m);
    out->mounts.push_back(std::move(b));
    return true;
  });
  return outcome;
}

void set_file_mounts(const ContainerSpec& spec, const ContainerInputs& in, ContainerConfig* out) {
  const auto add = [&](const std::string& source, const std::string& target, bool read_only) {
    if (source.empty()) return;
    const bool taken = std::any_of(out->mounts.begin(), out->mounts.end(),
                                   [&](const BindMount& m) { return m.target == target; });
    if (!taken) out->mounts.push_back({.source = source, .target = target, .read_only = read_only});
  };
  add(in.etc_hosts, "/etc/hosts", out->read_only_root);
  add(in.hostname_file, "/etc/hostname", out->read_only_root);
  add(in.resolv_conf, "/etc/resolv.conf", out->read_only_root);
  add(in.termination_log, spec.termination_message_path, false);
}

}  // namespace

Resources container_resources(Cursor c) {
  const Cursor limits = c["resources"]["limits"], requests = c["resources"]["requests"];
  Resources r;
  r.cpu_millis_limit = amount(limits, "cpu", true);
  r.memory_limit_bytes = amount(limits, "memory", false);
  r.cpu_millis_request = requests["cpu"] ? amount(requests, "cpu", true) : r.cpu_millis_limit;
  r.memory_request_bytes = requests["memory"] ? amount(requests, "memory", false) : r.memory_limit_bytes;
  return r;
}

Resources pod_limits(const PodSpec& pod) {
  Resources sum;
  bool all_cpu = true, all_memory = true;
  Resources init_peak;
  for (const ContainerSpec& c : pod.containers) {
    const Resources r = container_resources(container_json(pod, c));
    if (c.kind == ContainerKind::ephemeral) continue;
    if (r.cpu_millis_limit == 0) all_cpu = false;
    if (r.memory_limit_bytes == 0) all_memory = false;
    if (c.kind == ContainerKind::init) {
      init_peak.cpu_millis_limit = std::max(init_peak.cpu_millis_limit, r.cpu_millis_limit);
      init_peak.memory_limit_bytes = std::max(init_peak.memory_limit_bytes, r.memory_limit_bytes);
      init_peak.cpu_millis_request = std::max(init_peak.cpu_millis_request, r.cpu_millis_request);
      continue;
    }
    sum.cpu_millis_limit += r.cpu_millis_limit;
    sum.memory_limit_bytes += r.memory_limit_bytes;
    sum.cpu_millis_request += r.cpu_millis_request;
    sum.memory_request_bytes += r.memory_request_bytes;
  }
  sum.cpu_millis_request = std::max(sum.cpu_millis_request, init_peak.cpu_millis_request);
  // A sum says something only if every container has a limit.
  sum.cpu_millis_limit = all_cpu ? std::max(sum.cpu_millis_limit, init_peak.cpu_millis_limit) : 0;
  sum.memory_limit_bytes = all_memory ? std::max(sum.memory_limit_bytes, init_peak.memory_limit_bytes) : 0;
  return sum;
}

int oom_score_adj(const std::string& qos, int64_t memory_request, int64_t node_memory) {
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort" || node_memory <= 0) return 1000;
  const int64_t share = 1000 - 1000 * std::min(memory_request, node_memory) / node_memory;
  return static_cast<int>(std::clamp<int64_t>(share, 3, 999));
}

Result<ContainerConfig> container_config(const PodSpec& pod, const ContainerSpec& spec,
                                         const ContainerInputs& in) {
  const Cursor object(*pod.bytes);
  const Cursor c = container_json(pod, spec);
  ContainerConfig out;
  out.pod_uid = pod.uid;
  out.lower_dirs = in.image.lower_dirs;
  TRY(const ImageConfig image, parse_image_config(in.image.config_json));
  TRY(const Env own, container_env(object, c, in.facts, in.find));
  out.env = image.env;
  merge_env(&out.env, own);
  std::vector<std::string> command = strings(c["command"]), args = strings(c["args"]);
  for (std::string& s : command) s = expand(s, own);
  for (std::string& s : args) s = expand(s, own);
  out.args = effective_args(image, command, args);
  if (out.args.empty()) {
    return fail(Errc::invalid_argument,
                "no command: neither the container nor the image \"" + spec.image + "\" names one");
  }
  out.cwd = c["workingDir"].str();
  if (out.cwd.empty()) out.cwd = image.working_dir;
  out.tty = c["tty"].boolean();
  out.stdin = c["stdin"].boolean();
  out.stdin_once = c["stdinOnce"].boolean();
  out.resources = container_resources(c);
  out.oom_score_adj =
      oom_score_adj(pod.qos_class, out.resources.memory_request_bytes, in.facts.node_memory_bytes);
  set_user(object, c, image, &out);
  CHECK_OK(set_security(object, c, in, &out));
  CHECK_OK(set_volume_mounts(object, c, in, own, &out));
  set_file_mounts(spec, in, &out);
  return out;
}

}  // namespace limpet::node

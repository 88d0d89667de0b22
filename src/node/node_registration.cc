#include "node/node_registration.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/log.h"
#include "http/message.h"
#include "schema/node_labels.h"

namespace limpet::node {

namespace {

using json::Cursor;
using json::Ref;
using json::Value;
using schema::kServerLabel;

constexpr int64_t kGatherMs = 1'000;   // from one answer to what others wrote to the next
constexpr int64_t kMissingMs = 5'000;  // so long a Node that was removed stays away

std::string first_line(const std::string& path) {
  auto text = read_file(path, 4096);
  if (!text) return "";
  return text->substr(0, text->find('\n'));
}

std::string os_release_name() {
  const auto text = read_file("/etc/os-release", 64 << 10);
  const size_t at = text ? text->find("PRETTY_NAME=") : std::string::npos;
  if (at == std::string::npos) return "Linux";
  std::string value = text->substr(at + 12, text->find('\n', at) - at - 12);
  std::erase(value, '"');
  return value;
}

// Go's names of architectures, as Kubernetes labels use them.
std::string go_architecture(const std::string& machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine.starts_with("arm")) return "arm";
  if (machine == "i686" || machine == "i386") return "386";
  return machine;
}

bool may_set(const NodeFacts& f, const std::string& label) {
  return schema::node_may_set_label(label) || (f.server && schema::is_role_label(label));
}

std::map<std::string, std::string> all_labels(const NodeFacts& f) {
  std::map<std::string, std::string> labels = {{"kubernetes.io/hostname", f.hostname},
                                               {"kubernetes.io/os", "linux"},
                                               {"kubernetes.io/arch", f.architecture}};
  if (f.server) labels[std::string(kServerLabel)] = "";
  for (const auto& [k, v] : f.labels) {
    if (may_set(f, k)) labels[k] = v;
  }
  return labels;
}

void set_amounts(Ref out, const NodeFacts& f) {
  out.set("cpu", f.cpu_millis % 1000 == 0 ? std::to_string(f.cpu_millis / 1000)
                                          : std::to_string(f.cpu_millis) + "m");
  out.set("memory", std::to_string(f.memory_bytes / 1024) + "Ki");
  out.set("ephemeral-storage", std::to_string(f.disk_bytes / 1024) + "Ki");
  out.set("pods", std::to_string(f.max_pods));
}

void add_condition(Ref list, const char* type, bool status, const char* reason, const std::string& message,
                   Cursor previous, const std::string& now) {
  Ref c = list.push(Value::object());
  const char* text = status ? "True" : "False";
  std::string since = now;
  previous["conditions"].each([&](std::string_view, Cursor old) {
    if (old["type"].str_equals(type) && old["status"].str_equals(text))
      since = old["lastTransitionTime"].str(now);
    return true;
  });
  c.set("type", type);
  c.set("status", text);
  c.set("lastHeartbeatTime", since);
  c.set("lastTransitionTime", since);
  c.set("reason", reason);
  c.set("message", message);
}

// Those that a device speaks for; others are written by whoever put them there.
bool is_own_condition(std::string_view type) {
  constexpr std::string_view own[] = {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"};
  return std::find(std::begin(own), std::end(own), type) != std::end(own);
}

bool has_foreign_condition(Cursor status) {
  bool found = false;
  status["conditions"].each([&](std::string_view, Cursor c) {
    found = !is_own_condition(c["type"].str());
    return !found;
  });
  return found;
}

// What the configuration gave at the last write, so that what left it can be told from what operators added.
constexpr const char* kConfigured = "limpet.io/configured";

using Taint = NodeFacts::TaintFact;

bool same_taint(const Taint& a, const Taint& b) { return a.key == b.key && a.effect == b.effect; }
bool holds(const std::vector<Taint>& list, const Taint& taint) {
  return std::any_of(list.begin(), list.end(), [&](const Taint& t) { return same_taint(t, taint); });
}

std::vector<Taint> read_taints(Cursor list) {
  std::vector<Taint> out;
  list.each([&](std::string_view, Cursor t) {
    out.push_back({t["key"].str(), t["value"].str(), t["effect"].str()});
    return true;
  });
  return out;
}

void write_taint(Ref list, const Taint& t) {
  Ref taint = list.push(Value::object());
  taint.set("key", t.key);
  if (!t.value.empty()) taint.set("value", t.value);
  taint.set("effect", t.effect);
}

std::string configured(const NodeFacts& f) {
  Value v = Value::object();
  Ref labels = v.ref().ensure_array("labels"), taints = v.ref().ensure_array("taints");
  for (const auto& [key, value] : f.labels) labels.push(Value::string(key));
  for (const Taint& t : f.taints) write_taint(taints, t);
  return v.ref().dump();
}

}  // namespace

NodeFacts read_machine(const std::string& data_dir) {
  NodeFacts f;
  utsname u{};
  uname(&u);
  f.kernel = u.release;
  f.architecture = go_architecture(u.machine);
  f.os_image = os_release_name();
  f.machine_id = first_line("/etc/machine-id");
  f.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  f.cpu_millis = std::max<long>(sysconf(_SC_NPROCESSORS_ONLN), 1) * 1000;
  f.memory_bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  struct statvfs disk{};
  if (statvfs(data_dir.c_str(), &disk) == 0)
    f.disk_bytes = static_cast<int64_t>(disk.f_blocks) * static_cast<int64_t>(disk.f_frsize);
  return f;
}

std::vector<std::string> refused_labels(const NodeFacts& f) {
  std::vector<std::string> out;
  for (const auto& [key, value] : f.labels) {
    if (!may_set(f, key)) out.push_back(key);
  }
  return out;
}

std::string node_object(const NodeFacts& f) {
  Value v = Value::object();
  Ref o = v;
  o.set("apiVersion", "v1");
  o.set("kind", "Node");
  Ref meta = o.ensure_object("metadata");
  meta.set("name", f.name);
  Ref labels = meta.ensure_object("labels");
  for (const auto& [k, value] : all_labels(f)) labels.set(k, value);
  meta.ensure_object("annotations").set(kConfigured, configured(f));
  Ref spec = o.ensure_object("spec");
  if (!f.pod_cidr.empty()) {
    spec.set("podCIDR", f.pod_cidr);
    spec.ensure_array("podCIDRs").push(Value::string(f.pod_cidr));
  }
  for (const Taint& t : f.taints) write_taint(spec.ensure_array("taints"), t);
  return o.dump();
}

namespace {

void patch_labels(const NodeFacts& f, Cursor have, Cursor before, Ref patch) {
  const auto wanted = all_labels(f);
  const auto labels = [&] { return patch.ensure_object("metadata").ensure_object("labels"); };
  for (const auto& [key, value] : wanted) {
    if (!have[key] || have[key].str() != value) labels().set(key, value);
  }
  // Left by a server of this name.
  if (!f.server && have[kServerLabel]) labels().set(std::string(kServerLabel), Value::null());
  before["labels"].each([&](std::string_view, Cursor key) {
    if (!wanted.contains(key.str()) && have[key.str()] && may_set(f, key.str()))
      labels().set(key.str(), Value::null());
    return true;
  });
}

void patch_taints(const NodeFacts& f, Cursor object, Cursor before, Ref patch) {
  const std::vector<Taint> have = read_taints(object["spec"]["taints"]), old = read_taints(before["taints"]);
  std::vector<Taint> wanted;
  for (const Taint& t : have) {
    if (!holds(old, t) || holds(f.taints, t)) wanted.push_back(t);
  }
  for (const Taint& t : f.taints) {
    const auto was = std::find_if(old.begin(), old.end(), [&](const Taint& o) { return same_taint(o, t); });
    if (was != old.end() && was->value == t.value) continue;  // not news: an operator may have changed it
    std::erase_if(wanted, [&](const Taint& o) { return same_taint(o, t); });
    wanted.push_back(t);
  }
  const auto equal = [](const Taint& a, const Taint& b) { return same_taint(a, b) && a.value == b.value; };
  if (std::equal(have.begin(), have.end(), wanted.begin(), wanted.end(), equal)) return;
  Ref list = patch.ensure_object("spec").ensure_array("taints");
  for (const Taint& t : wanted) write_taint(list, t);
}

}  // namespace

std::string node_patch(const NodeFacts& f, const std::string& object) {
  const Cursor node(object);
  const std::string known = node["metadata"]["annotations"][kConfigured].str(), now = configured(f);
  const Cursor before(known);
  Value v = Value::object();
  patch_labels(f, node["metadata"]["labels"], before, v);
  if (f.server) patch_taints(f, node, before, v);
  Ref patch = v;
  if (known != now) patch.ensure_object("metadata").ensure_object("annotations").set(kConfigured, now);
  if (patch.size() == 0) return "";
  // The list of taints is replaced whole: not over what somebody else wrote meanwhile.
  patch.ensure_object("metadata").set("resourceVersion", node["metadata"]["resourceVersion"].str());
  return patch.dump();
}

std::string node_status(const NodeFacts& f, bool ready, const std::string& why_not,
                        const std::string& previous_status, WallTime now_time) {
  Value v = Value::object();
  Ref s = v;
  const Cursor previous(previous_status);
  const std::string now = rfc3339(now_time);
  set_amounts(s.ensure_object("capacity"), f);
  set_amounts(s.ensure_object("allocatable"), f);
  Ref conditions = s.ensure_array("conditions");
  add_condition(conditions, "MemoryPressure", false, "KubeletHasSufficientMemory",
                "the device has sufficient memory available", previous, now);
  add_condition(conditions, "DiskPressure", false, "KubeletHasNoDiskPressure",
                "the device has no disk pressure", previous, now);
  add_condition(conditions, "PIDPressure", false, "KubeletHasSufficientPID",
                "the device has sufficient process ids available", previous, now);
  add_condition(conditions, "Ready", ready, ready ? "KubeletReady" : "KubeletNotReady",
                ready ? "limpetd is ready" : why_not, previous, now);
  previous["conditions"].each([&](std::string_view, Cursor c) {
    if (is_own_condition(c["type"].str())) return true;
    if (auto foreign = json::parse(c.raw())) conditions.push(std::move(*foreign));
    return true;
  });
  Ref addresses = s.ensure_array("addresses");
  const auto address = [&](const char* type, const std::string& value) {
    Ref a = addresses.push(Value::object());
    a.set("address", value);
    a.set("type", type);
  };
  for (const std::string& ip : f.internal_ips) address("InternalIP", ip);
  address("Hostname", f.hostname);
  if (!f.internal_dns.empty()) address("InternalDNS", f.internal_dns);
  if (f.api_port)
    s.ensure_object("daemonEndpoints")
        .ensure_object("kubeletEndpoint")
        .set("Port", static_cast<int>(f.api_port));
  Ref info = s.ensure_object("nodeInfo");
  const std::pair<const char*, std::string> facts[] = {{"architecture", f.architecture},
                                                       {"bootID", f.boot_id},
                                                       {"containerRuntimeVersion", f.runtime_version},
                                                       {"kernelVersion", f.kernel},
                                                       {"kubeProxyVersion", f.version},
                                                       {"kubeletVersion", f.version},
                                                       {"machineID", f.machine_id},
                                                       {"operatingSystem", "linux"},
                                                       {"osImage", f.os_image},
                                                       {"systemUUID", f.machine_id}};
  for (const auto& [key, value] : facts) info.set(key, value);
  return s.dump();
}

NodeRegistration::NodeRegistration(loop::Loop& loop, Clock& clock, Random& random, client::Client& client,
                                   NodeFacts facts, std::function<bool()> may_make)
    : loop_(loop),
      clock_(clock),
      random_(random),
      client_(client),
      facts_(std::move(facts)),
      may_make_(std::move(may_make)),
      retry_(loop, "node-registration") {}
NodeRegistration::~NodeRegistration() = default;

void NodeRegistration::start(std::function<void()> told) {
  told_ = std::move(told);
  tell_refused();
  look();
  follow();
}

void NodeRegistration::check() {
  if (watch_) look();
}

// The Node as others write it.
void NodeRegistration::follow() {
  client::Informer::Handlers h;
  h.on_add = [this](const std::string&, const SharedBytes& node) { seen(*node); };
  h.on_update = [this](const std::string&, const SharedBytes&, const SharedBytes& node) { seen(*node); };
  // Whoever removes a Node may be about to remove the device: it is given the time to hear of that.
  h.on_delete = [this](const std::string&, const SharedBytes&) {
    dirty_ = false;
    missing_until_ms_ = loop_.now_ms() + kMissingMs;
    retry_.start(kMissingMs, [this] { look(); });
  };
  watch_ = std::make_unique<client::Informer>(
      loop_, client_, random_,
      client::Informer::Options{"/api/v1/nodes",
                                "fieldSelector=" + http::percent_encode("metadata.name=" + facts_.name)},
      std::move(h));
  watch_->start();
}

void NodeRegistration::seen(const std::string& object) {
  dirty_ = true;
  if (call_) return;
  dirty_ = false;
  if (node_patch(facts_, object).empty() && status_patch(object).empty()) {
    confirmed_ms_ = loop_.now_ms();
    return;
  }
  // Whoever writes the opposite each time is not answered in a rage.
  const int64_t wait = written_ms_ + kGatherMs - loop_.now_ms();
  if (written_ms_ >= 0 && wait > 0) return retry_.start(wait, [this] { look(); });
  retry_.stop();
  update(object);
}

void NodeRegistration::set_ready(bool ready, const std::string& why_not) {
  if (ready == ready_ && why_not == why_not_) return;
  ready_ = ready;
  why_not_ = why_not;
  look();
}

void NodeRegistration::set_facts(NodeFacts facts) {
  const bool other_labels = facts.labels != facts_.labels;
  facts_ = std::move(facts);
  if (other_labels) tell_refused();
  look();
}

void NodeRegistration::tell_refused() const {
  for (const std::string& label : refused_labels(facts_))
    log::warning("a device may not give itself this label: set it with kubectl label", {{"label", label}});
}

void NodeRegistration::later() {
  backoff_ms_ = std::clamp<int64_t>(backoff_ms_ * 2, 500, 30'000);
  retry_.start(std::max(backoff_ms_, missing_until_ms_ - loop_.now_ms()), [this] { look(); });
  if (told_) std::exchange(told_, nullptr)();
}

void NodeRegistration::look() {
  dirty_ = true;
  if (call_) return;
  dirty_ = false;
  client::Call get;
  get.path = "/api/v1/nodes/" + facts_.name;
  call_ = client_.call(std::move(get), [this](Result<client::Reply> reply) {
    const auto finished = std::move(call_);
    if (reply && reply->status == 404) return may_make_() ? create() : later();
    if (!reply || !reply->ok()) return later();
    update(reply->body);
  });
}

void NodeRegistration::create() {
  client::Call post{"POST", "/api/v1/nodes", "", "application/json", node_object(facts_)};
  call_ = client_.call(std::move(post), [this](Result<client::Reply> reply) {
    const auto finished = std::move(call_);
    if (!reply || !reply->ok()) {
      if (reply) log::warning("cannot register the node", {{"error", reply->error()}});
      return later();
    }
    patch_status(reply->body);
  });
}

void NodeRegistration::update(const std::string& object) {
  const std::string known = Cursor(object)["metadata"]["annotations"][kConfigured].str();
  if (!facts_.server && !known.empty() &&
      Cursor(known)["taints"].raw() != Cursor(configured(facts_))["taints"].raw())
    log::warning("taints of the configuration count when a device registers: change them with kubectl taint");
  std::string patch = node_patch(facts_, object);
  if (patch.empty()) return patch_status(object);
  written_ms_ = loop_.now_ms();
  client::Call call{"PATCH", "/api/v1/nodes/" + facts_.name, "", "application/merge-patch+json",
                    std::move(patch)};
  call_ = client_.call(std::move(call), [this](Result<client::Reply> reply) {
    const auto finished = std::move(call_);
    if (!reply || !reply->ok()) {
      if (reply && reply->status != 409) log::warning("cannot update the node", {{"error", reply->error()}});
      return later();
    }
    patch_status(reply->body);
  });
}

std::string NodeRegistration::status_patch(const std::string& object) const {
  const Cursor node(object);
  const std::string status =
      node_status(facts_, ready_, why_not_, std::string(node["status"].raw()), clock_.wall());
  const auto have = json::parse(node["status"].raw()), want = json::parse(status);
  if (have && want) {
    // Only our own members count: others may add theirs.
    bool same = true;
    for (Ref member : want->ref()) same = same && have->ref()[member.key()].equals(member);
    if (same) return "";
  }
  // The list of conditions is replaced whole: not over what somebody else wrote meanwhile.
  const std::string version = node["metadata"]["resourceVersion"].str();
  return (has_foreign_condition(node["status"])
              ? R"({"metadata":{"resourceVersion":)" + json::quoted(version) + "},"
              : "{") +
         R"("status":)" + status + "}";
}

void NodeRegistration::patch_status(const std::string& object) {
  const auto done = [this] {
    backoff_ms_ = 0;
    confirmed_ms_ = loop_.now_ms();
    if (dirty_) return look();
    if (told_) std::exchange(told_, nullptr)();
  };
  std::string patch = status_patch(object);
  if (patch.empty()) return done();
  written_ms_ = loop_.now_ms();
  client::Call call{"PATCH", "/api/v1/nodes/" + facts_.name + "/status", "", "application/merge-patch+json",
                    std::move(patch)};
  call_ = client_.call(std::move(call), [this, done](Result<client::Reply> reply) {
    const auto finished = std::move(call_);
    if (!reply || !reply->ok()) {
      if (reply && reply->status != 409)
        log::warning("the API refused the node's status", {{"error", reply->error()}});
      return later();
    }
    done();
  });
}

}  // namespace limpet::node

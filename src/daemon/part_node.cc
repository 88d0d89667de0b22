// The node: runtime, pod network, node.db, agent and the Node object.
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "api/server.h"
#include "base/atomic_file.h"
#include "base/log.h"
#include "base/tree.h"
#include "client/events.h"
#include "daemon/local_api.h"
#include "daemon/local_pods.h"
#include "daemon/local_view.h"
#include "daemon/member_records.h"
#include "daemon/metrics.h"
#include "daemon/names.h"
#include "daemon/node_access.h"
#include "daemon/node_network.h"
#include "daemon/node_service.h"
#include "daemon/parts.h"
#include "daemon/remote_node_access.h"
#include "net/pod_networks.h"
#include "node/agent.h"
#include "node/container_starter.h"
#include "node/lease_keeper.h"
#include "node/log_budget.h"
#include "node/node_registration.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"
#include "node/runtime/rootfs.h"
#include "pki/seal.h"
#include "store/consensus.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr const char* seal_context = "node.db";
constexpr int64_t settle_ms = 1'000;  // addresses and routes come in bursts
constexpr int64_t runtime_retry_ms = 10'000;

// The first /24 of the cluster's pods, unless the configuration says which part of it is this device's.
std::string local_pods(const Config& c) {
  if (!c.node.pod_cidr.empty()) return c.node.pod_cidr;
  const auto range = net::parse_cidr(c.network.pod_cidr);
  return range && range->bits < 24 ? range->base.text() + "/24" : c.network.pod_cidr;
}

node::NodeFacts::TaintFact parse_taint(
    const std::string& text) {  // KEY[=VALUE]:EFFECT, checked with the configuration
  const size_t colon = text.rfind(':'), equals = text.find('=');
  const bool has_value = equals != std::string::npos && equals < colon;
  return {text.substr(0, has_value ? equals : colon),
          has_value ? text.substr(equals + 1, colon - equals - 1) : "", text.substr(colon + 1)};
}

class NodePart final : public Part {
 public:
  explicit NodePart(Device& device) : device_(device) {}
  const char* name() const override { return "node"; }

  Result<> start() override {
    const Config& c = device_.config;
    for (const std::string& file : list_directory(c.manifests_dir)) {
      if (!file.ends_with(".yaml") && !file.ends_with(".yml") && !file.ends_with(".json")) continue;
      log::warning("static pods are not run by this version: create the pod through the API",
                   {{"file", c.manifests_dir + "/" + file}});
    }
    TRY(const pki::SealKey key, seal_key());
    node::Sealer sealer{
        [this, key](std::string_view plain) { return pki::seal(key, plain, seal_context, device_.random); },
        [key](std::string_view sealed) { return pki::open_sealed(key, sealed, seal_context); }};
    TRY(db_, node::NodeDb::open(device_.loop, device_.paths.node_file, std::move(sealer)));
    facts_ = node::read_machine(c.data_dir);
    fill_facts();
    node_events_ = recorder("kubelet");
    objects_ = std::make_unique<node::Objects>(*device_.client, *db_);
    runtime_ = node::make_runtime(device_.loop, runtime_options());
    CHECK_OK(make_network());
    fill_agent_options();
    agent_ = std::make_unique<node::Agent>(
        node::AgentServices{device_.loop, device_.clock, device_.random, *device_.client, *runtime_,
                            *device_.images, *network_, *db_, *node_events_, *objects_, agent_options_});
    registration_ = std::make_unique<node::NodeRegistration>(
        device_.loop, device_.clock, device_.random, *device_.client, facts_, [this] { return stays(); });
    // Of servers the leader hears anyway (member_heartbeats.h).
    if (c.role == "agent") make_lease();
    serve_containers();
    device_.metrics->add("pods", [this](api::MetricsText& out) { describe_pods(out, *agent_, *runtime_); });
    device_.agent = agent_.get();
    log_budget_ = std::make_unique<node::LogBudget>(device_.loop, c.logs.dir, c.logs.total_bytes);
    log_budget_->start();
    watch_address();
    device_.local->describe("runtime", [this](json::Writer& w) {
      w.string(runtime_problem_.empty() ? runtime_->version() : runtime_problem_);
    });
    device_.local->describe("networkProblem", [this](json::Writer& w) { w.string(network_problem_); });
    device_.local->describe("cgroupRoot",
                            [this](json::Writer& w) { w.string(runtime_options().cgroup_root); });
    device_.local->serve("pods",
                         [this](http::ExchangePtr e) { serve_local_pods(e, *agent_, device_.clock); });
    // Both at once: what the agent asks of the pod network waits in its queue behind its own start.
    networks_->start([this](Result<> r) { network_started(std::move(r)); });
    agent_->start([this](Result<> r) { agent_started(r); });
    return {};
  }

  void stop(loop::Task done) override {
    device_.agent = nullptr;
    device_.local->describe("runtime", {});
    device_.local->describe("networkProblem", {});
    device_.local->describe("cgroupRoot", {});
    device_.local->serve("pods", nullptr);
    if (device_.api) {
      device_.api->set_nodes(nullptr);
    }
    device_.metrics->add("pods", {});
    device_.metrics->add("heartbeats", {});
    device_.local->describe("reported", {});
    device_.node_service = nullptr;
    device_.view = nullptr;
    address_watch_.reset();
    runtime_retry_.reset();
    lease_.reset();
    registration_.reset();
    log_budget_.reset();
    if (agent_) agent_->stop();
    view_.reset();
    service_.reset();
    any_.reset();
    access_.reset();
    agent_.reset();
    node_events_.reset();
    db_->close([this, done] {
      device_.loop.defer([this, done] {
        runtime_.reset();
        network_.reset();
        networks_.reset();
        objects_.reset();
        db_.reset();
        done();
      });
    });
  }

  void reload(const Config&) override { refresh_facts(); }

  // Without a usable runtime, or a pod network, the API serves all the same: the Node says what is wrong. Who
  // asks for it as soon as the device is ready must see it, and not as it was before the start.
  std::string not_ready() const override {
    if (!tried_) return "the node is still taking over what runs";
    if (!network_tried_) return "the pod network is still being set up";
    return told_ ? "" : "the Node is still being written";
  }

 private:
  std::unique_ptr<client::EventRecorder> recorder(const char* component) {
    return std::make_unique<client::EventRecorder>(device_.loop, device_.clock, device_.random,
                                                   *device_.client, component, device_.node_name);
  }

  // Logs, exec and attach: of the API's users on a server, of the unix socket's on an agent, and of the
  // servers that ask over port 6444.
  void serve_containers() {
    access_ = std::make_unique<LocalNodeAccess>(device_.loop, device_.clock, *agent_, *runtime_);
    service_ = std::make_unique<NodeService>(device_.loop, *access_);
    device_.node_service = service_.get();
    if (device_.remote_nodes)
      any_ = std::make_unique<AnyNodeAccess>(device_.node_name, *access_, *device_.remote_nodes);
    if (device_.api) {
      device_.api->set_nodes(any_ ? static_cast<api::NodeAccess*>(any_.get()) : access_.get());
      return;
    }
    LocalView::Hooks hooks;
    hooks.may_read = device_.is_reader;
    hooks.metrics = [this] {
      api::MetricsText out;
      device_.metrics->collect(out);
      return out.take();
    };
    hooks.pods = [this](std::string_view ns) {
      std::vector<std::string> objects;
      for (const node::PodWorker* w : agent_->workers()) {
        if (ns.empty() || w->spec().ns == ns) objects.push_back(w->object());
      }
      return objects;
    };
    hooks.pod = [this](const std::string& ns, const std::string& name) -> std::optional<std::string> {
      const node::PodWorker* w = agent_->find(ns + "/" + name);
      return w ? std::optional(w->object()) : std::nullopt;
    };
    view_ = std::make_unique<LocalView>(std::move(hooks), *service_);
    device_.view = [this](http::ExchangePtr e) { view_->handle(std::move(e)); };
  }

  // Only node.db's secrets are sealed with it, and the API brings those again: a damaged key does not keep
  // the device from starting.
  Result<pki::SealKey> seal_key() const {
    const std::string path = device_.paths.pki_dir + "/device.key";
    auto key = pki::load_or_create_seal_key(path, device_.random);
    if (key || key.error().code != Errc::corrupt) return key;
    const std::string aside = path + ".damaged";
    log::error("the device's key is damaged and set aside; a new one is made, secrets are fetched again",
               {{"kept_as", aside}, {"error", key.error()}});
    if (rename(path.c_str(), aside.c_str()) != 0) return fail_errno(errno, "set aside " + path);
    return pki::load_or_create_seal_key(path, device_.random);
  }

  node::RuntimeOptions runtime_options() const {
    const Config& c = device_.config;
    node::RuntimeOptions o;
    o.run_dir = c.run_dir;
    o.data_dir = c.data_dir;
    o.cgroup_root = (c.cgroup_root.starts_with('/') ? "" : "/") + c.cgroup_root;
    o.runtime = !c.runtime.path.empty() ? c.runtime.path : c.runtime.kind == "auto" ? "" : c.runtime.kind;
    o.log_max_bytes = c.logs.container_max_bytes;
    o.log_max_files = static_cast<int>(c.logs.container_max_files);
    return o;
  }

  Result<> make_network() {
    const Config& c = device_.config;
    net::NetworkOptions o;
    o.bridge = c.network.bridge;
    TRY(o.pods, net::parse_cidr(c.network.pod_cidr));
    TRY(o.local, net::parse_cidr(local_pods(c)));
    o.enabled = has_pod_network();
    o.mtu = static_cast<uint32_t>(c.network.mtu);
    o.lease_dir = c.run_dir + "/leases";
    networks_ = std::make_unique<net::PodNetworks>(device_.loop, std::move(o));
    networks_->on_problem([this](const std::string& problem) { network_changed(problem); });
    network_ = std::make_unique<NodeNetwork>(*networks_);
    return {};
  }

  // What the servers hold of this device is brought up to date as soon as they hear of it again.
  void make_lease() {
    node::LeaseKeeper::Hooks hooks;
    hooks.heard_again = [this] {
      registration_->check();
      agent_->report_again();
    };
    hooks.unknown = [this] { registration_->check(); };
    lease_ = std::make_unique<node::LeaseKeeper>(
        device_.loop, device_.random, *device_.client,
        device_.config.cluster.profile == "metered" ? node::Heartbeat::metered() : node::Heartbeat::lan(),
        std::move(hooks));
    device_.metrics->add("heartbeats", [this](api::MetricsText& out) { describe_heartbeats(out, *lease_); });
    device_.local->describe("reported", [this](json::Writer& w) { describe_reported(w); });
  }

  // Of `limpet status`: when the servers heard last of this device, and what they have not heard yet.
  void describe_reported(json::Writer& w) const {
    const auto ago = [&](const char* name, int64_t at_ms) {
      if (at_ms >= 0) w.field(name, (device_.loop.now_ms() - at_ms) / 1000);
    };
    int64_t waiting = 0;
    for (const node::PodWorker* worker : agent_->workers()) waiting += worker->owes_report() ? 1 : 0;
    w.begin_object();
    ago("heartbeatSeconds", lease_->heard_ms());
    ago("nodeSeconds", registration_->confirmed_ms());
    w.field("podsWaiting", waiting).field("problem", lease_->problem()).end_object();
  }

  // A server that is being removed still reads and writes for a moment: its Node must not come again.
  bool stays() const {
    const MemberRecord* record =
        device_.store && device_.members ? device_.members->find(device_.store->consensus().self()) : nullptr;
    return !record || record->device.state == cluster::DeviceState::active;
  }

  bool is_server() const { return device_.config.role == "server"; }

  bool has_pod_network() const { return device_.config.network.mode != "none"; }

  void fill_facts() {
    const Config& c = device_.config;
    facts_.name = facts_.hostname = device_.node_name;
    facts_.server = is_server();
    facts_.labels = c.node.labels;
    facts_.taints.clear();
    for (const std::string& t : c.node.taints) facts_.taints.push_back(parse_taint(t));
    facts_.pod_cidr = has_pod_network() ? local_pods(c) : "";
    facts_.max_pods = c.node.max_pods;
    facts_.version = "v1.35.0+limpet-" LIMPET_VERSION;
    facts_.internal_ips = {device_address(c)};
    facts_.internal_dns = c.node.dns_name;
  }

  // The configuration or an address of the device changed: what the Node and its pods say follows.
  void refresh_facts() {
    const std::vector<std::string> before = facts_.internal_ips;
    fill_facts();
    agent_options_.host_ips = facts_.internal_ips;
    registration_->set_facts(facts_);
    if (facts_.internal_ips == before) return;
    log::notice("the device's address changed", {{"from", before[0]}, {"to", facts_.internal_ips[0]}});
    agent_->report_again();
  }

  // Addresses and the default route come late where DHCP gives them, and may change.
  void watch_address() {
    auto watch = AddressWatch::make(device_.loop, AddressWatch::Of::addresses_and_routes, settle_ms,
                                    [this] { address_may_differ(); });
    if (watch) {
      address_watch_ = std::move(*watch);
    } else {
      log::warning("changes of the device's address are not noticed, going on", {{"error", watch.error()}});
    }
  }

  void address_may_differ() {
    if (facts_.internal_ips != std::vector<std::string>{device_address(device_.config)}) refresh_facts();
  }

  void fill_agent_options() {
    const Config& c = device_.config;
    agent_options_.node_name = device_.node_name;
    agent_options_.data_dir = c.data_dir;
    agent_options_.run_dir = c.run_dir;
    agent_options_.log_dir = c.logs.dir;
    agent_options_.seccomp_dir = c.data_dir + "/seccomp";
    agent_options_.dns.cluster_domain = c.network.cluster_domain;
    agent_options_.host_ips = facts_.internal_ips;
    agent_options_.node_cpu_millis = facts_.cpu_millis;
    agent_options_.node_memory_bytes = facts_.memory_bytes;
  }

  void network_started(Result<> r) {
    if (!agent_) return;  // stopping already
    // Without a pod network the device still runs pods of the host network, and says why the others wait.
    if (!r) {
      log::error("the pod network cannot be set up", {{"error", r.error()}});
      network_problem_ = "the pod network cannot be set up: " + r.error().message;
    }
    network_tried_ = true;
    if (tried_) announce_node();
  }

  // After the start: something broke, or works again.
  void network_changed(const std::string& problem) {
    if (!agent_) return;
    network_problem_ = problem;
    if (announced_) say_ready();
  }

  // A runtime that is missing, hangs or is half installed is mended by a person, who needs the device's API
  // for it; what runs goes on without it. Taking over is tried until it works.
  void agent_started(const Result<>& r) {
    const std::string problem = r ? "" : "the container runtime cannot be used: " + r.error().message;
    if (!problem.empty() && problem != runtime_problem_)
      log::error("pods cannot be taken over or started, trying again", {{"error", problem}});
    runtime_problem_ = problem;
    if (!r) {
      runtime_retry_ = std::make_unique<loop::Timer>(device_.loop, "runtime");
      runtime_retry_->start(runtime_retry_ms,
                            [this] { agent_->start([this](Result<> again) { agent_started(again); }); });
    }
    tried_ = true;
    if (network_tried_) announce_node();
  }

  void announce_node() {
    facts_.runtime_version = runtime_version();
    registration_->set_facts(facts_);
    say_ready();
    if (!std::exchange(announced_, true))
      registration_->start([this] {
        told_ = true;
        if (lease_) lease_->start();
      });
  }

  void say_ready() {
    const std::string& problem = runtime_problem_.empty() ? network_problem_ : runtime_problem_;
    registration_->set_ready(problem.empty(), problem);
  }

  // "runc 1.1.5" as Kubernetes writes it: runc://1.1.5
  std::string runtime_version() const {
    std::string v = runtime_->version();
    const size_t space = v.find(' ');
    return space == std::string::npos ? v : v.substr(0, space) + "://" + v.substr(space + 1);
  }

  Device& device_;
  node::NodeFacts facts_;
  node::AgentOptions agent_options_;
  std::unique_ptr<node::NodeDb> db_;
  std::unique_ptr<client::EventRecorder> node_events_;
  std::unique_ptr<node::Objects> objects_;
  std::unique_ptr<node::Runtime> runtime_;
  std::unique_ptr<net::PodNetworks> networks_;
  std::unique_ptr<NodeNetwork> network_;
  std::unique_ptr<node::Agent> agent_;
  std::unique_ptr<node::NodeRegistration> registration_;
  std::unique_ptr<node::LeaseKeeper> lease_;
  std::unique_ptr<LocalNodeAccess> access_;
  std::unique_ptr<AnyNodeAccess> any_;  // a server of a cluster
  std::unique_ptr<NodeService> service_;
  std::unique_ptr<LocalView> view_;  // an agent
  std::unique_ptr<node::LogBudget> log_budget_;
  std::unique_ptr<AddressWatch> address_watch_;
  std::unique_ptr<loop::Timer> runtime_retry_;
  std::string network_problem_, runtime_problem_;
  bool network_tried_ = false;
  bool tried_ = false;      // taking over, with or without success
  bool announced_ = false;  // the Node
  bool told_ = false;       // the API has it, or cannot take it now
};

}  // namespace

std::unique_ptr<Part> make_node_part(Device& device) { return std::make_unique<NodePart>(device); }

}  // namespace limpet::daemon

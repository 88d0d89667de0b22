#include "api/server.h"

#include <algorithm>
#include <utility>

#include "api/authn.h"
#include "api/authorisation.h"
#include "api/background.h"
#include "api/bootstrap.h"
#include "api/context.h"
#include "api/dispatch.h"
#include "api/lease_space.h"
#include "api/node_graph_feed.h"

namespace limpet::api {
namespace {

// A filter answers the call and returns false, or lets it pass.
using Filter = bool (*)(const CallPtr&);

bool request_info(const CallPtr& call) {
  call->info = parse_request_info(call->request());
  const RequestInfo& i = call->info;
  call->long_running =
      i.is_resource && (i.verb == "watch" || i.subresource == "exec" || i.subresource == "attach" ||
                        (i.subresource == "log" && truthy(call->query(), "follow")));
  if (call->long_running) ++call->core.metrics.watches;
  return true;
}

bool not_stopping(const CallPtr& call) {
  if (!call->core.stopping || !call->info.is_resource) return true;
  call->fail(status::unavailable("the server is shutting down", 1));
  return false;
}

// Health stays answerable under load.
bool max_in_flight(const CallPtr& call) {
  if (!call->info.is_resource) return true;
  Core& core = call->core;
  size_t limit = call->long_running ? core.options.max_long_running : core.options.max_in_flight;
  size_t now = static_cast<size_t>(call->long_running ? core.metrics.watches : core.metrics.in_flight);
  // The in-process parts of the device itself are few and must not starve.
  if (now > limit && call->request().peer.kind != http::Peer::Kind::in_process) {
    ++core.metrics.rejected_in_flight;
    call->fail(status::too_many_requests("Too many requests, please try again later.", 1));
    return false;
  }
  if (!call->long_running) {
    call->counted_in_flight = true;
    ++core.metrics.in_flight;
  }
  return true;
}

bool authentication(const CallPtr& call) {
  Result<User> user = authenticate(call->core.options, call->request());
  if (user) {
    call->user = std::move(*user);
    return true;
  }
  ++call->core.metrics.authentication_failures;
  call->fail(status::unauthorized());  // the reason is for the audit trail, not for the one who tries
  return false;
}

using Extra = std::vector<std::pair<std::string, std::vector<std::string>>>;

// Impersonate-Extra-KEY: VALUE, any number of times; what a header cannot carry is percent-encoded in the
// key.
Extra impersonated_extra(const http::Headers& headers) {
  constexpr std::string_view kPrefix = "impersonate-extra-";
  Extra out;
  for (const http::Header& h : headers.list()) {
    if (h.name.size() <= kPrefix.size() || !http::same_text(h.name.substr(0, kPrefix.size()), kPrefix))
      continue;
    std::string key = h.name.substr(kPrefix.size());
    for (char& c : key) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (Result<std::string> decoded = http::percent_decode(key)) key = std::move(*decoded);
    auto it = std::find_if(out.begin(), out.end(), [&](const auto& e) { return e.first == key; });
    if (it == out.end()) it = out.insert(out.end(), {key, {}});
    it->second.push_back(h.value);
  }
  return out;
}

// The groups that every service account is in; none for other names.
std::vector<std::string> account_groups(std::string_view user) {
  constexpr std::string_view kPrefix = "system:serviceaccount:";
  if (!user.starts_with(kPrefix)) return {};
  user.remove_prefix(kPrefix.size());
  size_t colon = user.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == user.size()) return {};
  return {"system:serviceaccounts", "system:serviceaccounts:" + std::string(user.substr(0, colon))};
}

bool impersonation(const CallPtr& call) {
  // Done where it came from.
  if (call->request().peer.kind == http::Peer::Kind::forwarded) return true;
  const http::Headers& h = call->request().headers;
  std::string_view name = h.get("Impersonate-User");
  Extra extra = impersonated_extra(h);
  if (name.empty() && !h.has("Impersonate-Group") && !h.has("Impersonate-Uid") && extra.empty()) return true;
  if (name.empty()) {
    call->fail(status::bad_request("impersonation needs Impersonate-User"));
    return false;
  }
  if (!call->user.in(kMastersGroup)) {
    Status s = status::bad_request("");
    s.code = 403;
    s.reason = "Forbidden";
    s.message = "users \"" + std::string(name) + "\" is forbidden: User \"" + call->user.name +
                "\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope";
    call->fail(s);
    return false;
  }
  User u;
  u.name = name;
  u.uid = h.get("Impersonate-Uid");
  u.extra = std::move(extra);
  for (std::string_view g : h.all("Impersonate-Group")) u.groups.emplace_back(g);
  if (u.groups.empty()) u.groups = account_groups(name);
  const char* known = u.anonymous() ? "system:unauthenticated" : "system:authenticated";
  if (!u.in("system:authenticated") && !u.in("system:unauthenticated")) u.groups.emplace_back(known);
  u.bound = std::move(call->user.bound);
  call->user = std::move(u);
  return true;
}

// The order in which a request passes; after that it is decided where in the cluster it is served
// (dispatch.h), and there it passes authorisation. The audit hook and the metrics run when the call ends
// (Call::~Call).
constexpr Filter kFilters[] = {request_info, not_stopping, max_in_flight, authentication, impersonation};

}  // namespace

struct ApiServer::Impl {
  std::shared_ptr<Core> core;
  Background background;
  NodeGraphFeed node_graph;
  loop::Timer timeout;
  bool changed = false;  // the leadership, which is looked at on a later turn
  std::shared_ptr<int> alive = std::make_shared<int>(0);

  Impl(std::shared_ptr<Core> c, NodeAccess* nodes)
      : core(std::move(c)), background(*core), node_graph(*core), timeout(core->loop, "api request timeout") {
    core->nodes = nodes;
    core->node_graph = &node_graph;
  }
  ~Impl() { core->node_graph = nullptr; }

  void serve(http::ExchangePtr exchange) {
    auto call = std::make_shared<Call>(*core, std::move(exchange));
    for (Filter f : kFilters) {
      if (!f(call)) return;
    }
    if (!call->long_running) {
      core->timed.push_back(call.get());
      call->timed = std::prev(core->timed.end());
      if (!timeout.active()) arm();
    }
    dispatch(std::move(call), authorise);
  }

  void leadership_changed() {
    changed = false;
    if (core->stopping) return;
    background.leadership_changed();
    std::vector<std::shared_ptr<Session>> sessions;  // one that hears of it may end itself and others
    for (const auto& [p, s] : core->sessions) sessions.push_back(s);
    for (const auto& s : sessions) s->leadership_changed();
  }

  // The timer runs only while requests are under way.
  void arm() {
    if (core->timed.empty()) return;
    int64_t left =
        core->timed.front()->started_ms + core->options.request_timeout_ms - core->clock.monotonic_ms();
    timeout.start(left < 1000 ? 1000 : left, [this] { expire(); });
  }

  void expire() {
    int64_t limit = core->clock.monotonic_ms() - core->options.request_timeout_ms;
    while (!core->timed.empty() && core->timed.front()->started_ms <= limit) {
      CallPtr call = core->timed.front()->shared_from_this();
      core->timed.erase(*call->timed);
      call->timed.reset();
      call->time_out();
    }
    arm();
  }
};

ApiServer::ApiServer(loop::Loop& loop, Clock& clock, Random& random, store::Store& store, Options options,
                     NodeAccess* nodes)
    : impl_(std::make_unique<Impl>(std::make_shared<Core>(loop, clock, random, store, std::move(options)),
                                   nodes)) {}

ApiServer::~ApiServer() { stop(); }

http::Handler ApiServer::handler() {
  std::weak_ptr<int> alive = impl_->alive;
  Impl* impl = impl_.get();
  return [alive, impl](http::ExchangePtr exchange) {
    if (!alive.expired()) return impl->serve(std::move(exchange));
    Status s = status::unavailable("the server is shutting down", 1);
    http::Headers h;
    h.add("Content-Type", "application/json");
    exchange->respond({503, std::move(h), s.json()});
  };
}

void ApiServer::start(std::function<void(Result<>)> done) {
  impl_->node_graph.start();
  impl_->background.start(std::move(done));
}

void ApiServer::stop() {
  Core& core = *impl_->core;
  core.stopping = true;
  impl_->background.stop();
  impl_->node_graph.stop();
  core.leases->stop();
  auto sessions = std::move(core.sessions);
  core.sessions.clear();
  for (auto& [p, s] : sessions) s->stop();
}

void ApiServer::set_cluster_ca(std::string pem) {
  Core& core = *impl_->core;
  core.options.cluster_ca_pem = std::move(pem);
  if (impl_->background.working() && !core.stopping) refresh_root_cas(core);
}

void ApiServer::set_nodes(NodeAccess* nodes) { impl_->core->nodes = nodes; }

void ApiServer::set_cluster(ClusterAccess* cluster) { impl_->core->cluster = cluster; }

void ApiServer::leadership_changed() {
  if (std::exchange(impl_->changed, true)) return;
  impl_->core->loop.defer([alive = std::weak_ptr<int>(impl_->alive), impl = impl_.get()] {
    if (!alive.expired()) impl->leadership_changed();
  });
}

Metrics& ApiServer::metrics() { return impl_->core->metrics; }

}  // namespace limpet::api

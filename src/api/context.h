// What the parts of the API server share (Core) and what belongs to one request (Call).
//
// Core is owned by ApiServer and outlives every Call. A Call is shared by the callbacks of the request's
// asynchronous steps; when the last one is gone the request is over and counted. A Call is answered at most
// once: later answers (a store reply after the request timed out) are dropped silently.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/cluster_access.h"
#include "api/metrics.h"
#include "api/negotiate.h"
#include "api/node_access.h"
#include "api/options.h"
#include "api/request_info.h"
#include "api/status.h"
#include "api/user.h"
#include "base/clock.h"
#include "base/random.h"
#include "http/message.h"
#include "loop/loop.h"
#include "schema/types.h"
#include "store/store.h"

namespace limpet::api {

class LeaseSpace;
class NodeGraphFeed;

// Something that lives beyond the callback that made it: a list being streamed, a watch, a log, a terminal.
// Kept by Core until it says finish(); stop() ends it from outside.
class Session : public std::enable_shared_from_this<Session> {
 public:
  virtual ~Session() = default;
  virtual void stop() = 0;
  virtual void leadership_changed() {}  // another leader, another term, or none
};

class Call;

// Held by ApiServer and by everything under way, since store replies may come after the server is gone.
struct Core : std::enable_shared_from_this<Core> {
  Core(loop::Loop& l, Clock& c, Random& r, store::Store& s, Options o);

  loop::Loop& loop;
  Clock& clock;
  Random& random;
  store::Store& store;
  Options options;
  Metrics metrics;
  std::list<Call*> timed;            // calls with a time limit, oldest first
  NodeAccess* nodes = nullptr;       // null: no device to ask (answers 503)
  ClusterAccess* cluster = nullptr;  // null: a device that is a cluster of its own
  NodeGraphFeed* node_graph = nullptr;
  std::shared_ptr<LeaseSpace> leases;
  uint64_t settled_term = 0;  // leading in it, with all of earlier terms in the state here
  uint64_t work_term = 0;     // of the background work: its writes happen in this term or not at all
  bool ready = false;         // built-in namespaces exist
  bool stopping = false;
  std::unordered_map<Session*, std::shared_ptr<Session>> sessions;

  void keep(std::shared_ptr<Session> s) {
    Session* p = s.get();
    sessions.emplace(p, std::move(s));
  }
  // The session may be destroyed when the current callback is over, not before.
  void finish(Session* s);

  // Where the objects of a kind are read and written.
  store::Space& space(const schema::Resource& r);

  // The state here is the only one there is.
  bool single() const { return !cluster || cluster->alone(); }
  bool leads() const { return !cluster || cluster->leading(); }
  uint64_t term() const { return cluster ? cluster->term() : 0; }
  bool leads_in(uint64_t t) const {
    return !cluster || t == 0 || (cluster->leading() && cluster->term() == t);
  }
  // Of what was decided by whoever led in `term` (0: anybody): in that term, or `unavailable`.
  void commit(store::Space& to, uint64_t term, store::Txn txn,
              std::function<void(Result<store::Committed>)> done);
};

class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(Core& core, http::ExchangePtr exchange);
  ~Call();
  Call(const Call&) = delete;

  Core& core;
  RequestInfo info;
  User user;
  Answer answer;  // negotiated shape
  const schema::Resource* resource = nullptr;
  bool long_running = false;  // watches, logs, sessions: not in the in-flight count nor timed out
  bool counted_in_flight = false;
  bool unsure = false;  // whether the user may: to be asked again before anything is done
  int64_t started_ms = 0;
  std::optional<std::list<Call*>::iterator> timed;  // place in Core::timed
  uint64_t term = 0;    // in which this server decides as the leader; 0: it does not, or is no cluster's
  bool newest = false;  // the state here was found to be the newest, after the request came
  // A write that has not come to a commit yet: what is answered rests on the belief to be the leader, which
  // is confirmed before the answer leaves. To be taken back by whoever committed.
  bool unconfirmed = false;

  const http::Request& request() const { return exchange_->request(); }
  http::Exchange& exchange() { return *exchange_; }
  const http::Query& query() const { return exchange_->request().query; }
  // The namespace that keys use: empty for cluster-scoped resources.
  std::string_view ns() const { return resource && resource->namespaced() ? std::string_view(info.ns) : ""; }
  bool dry_run() const { return dry_run_; }
  void set_dry_run(bool on) { dry_run_ = on; }

  // Adds a Warning header (RFC 7234 section 5.5); repeated and overlong ones are dropped.
  void warn(std::string_view text);

  // For the answer to come.
  void add_header(std::string name, std::string value) { extra_.add(std::move(name), std::move(value)); }
  void respond(int code, std::string body, std::string_view content_type = "application/json");
  void fail(const Status& s);
  // Streaming. False when the call was answered before.
  bool begin(int code, std::string_view content_type = "application/json");
  bool answered() const { return answered_; }
  bool gone() const { return gone_; }
  // Marks the call as answered by other means (a WebSocket).
  void mark_answered(int code);
  // The answer of another server, streamed. As begin().
  bool relay(int code, http::Headers headers);
  // Called when the client leaves while an answer is streamed; with listen() also before, and then also when
  // the time is over.
  void on_gone(std::function<void()> f) { on_gone_ = std::move(f); }
  void listen();
  void time_out();

 private:
  http::Headers headers(std::string_view content_type) const;
  void confirm(std::function<void(Call&)> go_on);

  std::shared_ptr<Core> owner_;
  http::ExchangePtr exchange_;
  std::vector<std::string> warnings_;
  http::Headers extra_;
  std::function<void()> on_gone_;
  bool answered_ = false, gone_ = false, dry_run_ = false, listening_ = false;
  int code_ = 0;
};
using CallPtr = std::shared_ptr<Call>;

}  // namespace limpet::api

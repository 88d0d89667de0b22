// Where leases are kept: all of them in the volatile space, so that a renewal costs no write to flash, and
// what must outlast the leader in the durable one, too.
//
// Clients see one collection on the volatile line of versions (leases are a volatile kind). Behind it:
//   - A lease outside kube-node-lease is written to the durable space before it is acknowledged whenever
//   anything but
//     spec.renewTime (and who wrote which field) changes: a new holder, a transition, a label. A renewal is
//     volatile.
//   - Leases in kube-node-lease, the heartbeats of devices, are volatile altogether. There is one for each
//   Node, made
//     with it and gone with it; until its device is heard of, it has no renewTime.
// When the term of the volatile space changes (another leader, a restart) everything is read anew from the
// durable space: holders as they were, with the renewTime of their last durable write. Clients go by what
// they see change, on their own clocks, and so wait a whole duration before they take over. A lease is no
// lock: a leader that was cut off may renew for as long as it takes to notice.
//
// Used on the leader; others forward what is about volatile kinds. Nothing is read or watched before the
// first use. Owned by Core, on the loop's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/random.h"
#include "loop/loop.h"
#include "schema/types.h"
#include "store/store.h"

namespace limpet::api {

class LeaseSpace final : public store::Space {
 public:
  static constexpr size_t kMaxItems = 4000;
  static constexpr size_t kMaxBytes = 2u << 20;
  static bool holds(const schema::Resource& r);

  LeaseSpace(loop::Loop& loop, Clock& clock, Random& random, store::Store& store);
  ~LeaseSpace() override;
  void stop();

  // The device is alive: renews its lease. Errors: not_found (there is no such Node), those of a read.
  void renew(const std::string& node, int64_t duration_s, std::function<void(Result<>)> done);

  // As Space says. `exhausted` also when there would be too many, or too large, leases.
  void commit(store::Txn txn, std::function<void(Result<store::Committed>)> done) override;
  void get(const std::string& key, std::function<void(Result<std::optional<store::Item>>)> done) override;
  void list(const std::string& prefix, const std::string& after, store::Revision revision, size_t limit,
            std::function<void(Result<store::Page>)> done) override;
  int64_t count(const std::string& prefix) const override;
  Result<std::unique_ptr<store::Watch>> watch(const std::string& prefix, store::Revision after,
                                              store::Watch::Sink sink) override;
  store::Revision revision() const override;
  store::Revision compacted_revision() const override;

 private:
  struct Write {
    store::Txn txn;
    std::function<void(Result<store::Committed>)> done;
  };
  struct Load;

  store::Space& memory() const { return store_.transient(); }
  std::optional<store::Item> now(const std::string& key) const;
  int64_t term() const;
  Result<> usable() const;

  // Calls f when this term's leases are all there, at once when they are.
  void ensure(std::function<void(Result<>)> f);
  void load_leases(std::shared_ptr<Load> load);
  void load_nodes(std::shared_ptr<Load> load);
  void loaded(Result<> r);
  void remove_others(const Load& load);
  Result<> follow(const Load& load);
  void on_lease(const store::Event& e);
  void on_node(const store::Event& e);
  void take(const std::string& key, store::Revision revision, const std::string& value);
  void put(const std::string& key, std::string value, std::optional<store::Revision> expect = std::nullopt);
  void remove(const std::string& key);
  void each_in_memory(const std::function<void(const store::Item&)>& f) const;
  void make_node_lease(const std::string& node, json::Cursor object);
  bool renew_known(const std::string& node, int64_t duration_s);

  void run(Write write);
  Result<> fits(const store::Txn& txn) const;
  Result<> holds_still(const store::Txn& txn) const;
  store::Txn durable_part(const store::Txn& txn) const;
  void run_waiting();

  template <class F>
  auto guarded(F f) {
    return [alive = std::weak_ptr<int>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  loop::Loop& loop_;
  Clock& clock_;
  Random& random_;
  store::Store& store_;
  int64_t loaded_term_ = -1;  // of what the volatile space holds
  bool loading_ = false;
  std::vector<std::function<void(Result<>)>> waiting_for_load_;
  std::unique_ptr<store::Watch> leases_, nodes_;
  std::map<std::string, store::Revision> durable_;  // by key: the durable write that memory holds already
  std::set<std::string> busy_;                      // keys whose durable write is under way
  std::deque<Write> waiting_;                       // for those
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace limpet::api

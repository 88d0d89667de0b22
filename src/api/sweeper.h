// Cleans up behind deletions: dependents of owners that are gone, the contents of namespaces that end, old
// events.
//
// Follows the durable space with one watch and an index of who owns whom; one task at a time, each a chain of
// short store calls, so that a big sweep never holds the loop. Nothing is judged while the index is being
// read. Works where this server leads, from start() to stop(), each time from the store anew. Owned by
// ApiServer.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_set>

#include "api/context.h"
#include "api/garbage.h"
#include "api/namespace_conditions.h"

namespace limpet::api {

class Sweeper {
 public:
  explicit Sweeper(Core& core);
  ~Sweeper();
  void start();
  void stop();

 private:
  // What a task is about is its key: an object that has owners, an owner with a deletion policy, or a
  // namespace.
  void follow(store::Revision after);
  void load();
  void on_event(const store::Event& e);
  void look_at(const std::string& key, std::string_view stored);
  void enqueue(std::string key);
  void later(std::string key, int64_t delay_ms);
  void run();
  void next();
  void task(const std::string& key);
  void task_object(const schema::Resource& r, const std::string& key, const store::Item& item);
  struct Subject {  // of one judgement: a dependent at a revision
    const schema::Resource* resource;
    std::string key, uid, policy;  // of deletion, for its own dependents
    store::Revision version;
  };
  void judge(Subject subject, std::vector<OwnerRef> owners);
  void remove_dependent(const Subject& subject, bool waited_for);
  void end_namespace(const std::string& key, const std::string& name);
  // Ends a task; one that failed is tried again later.
  void finished(const std::string& key, bool good);
  // Whether the index has heard of everything that happened until then.
  bool up_to(store::Revision revision) const;
  void foreground(const schema::Resource& r, const std::string& key, const std::string& uid);
  void orphan(const schema::Resource& r, const std::string& key, const std::string& uid);
  struct Orphaning;
  void orphan_next(std::shared_ptr<Orphaning> o);
  void expire_events(std::string after);
  // Wraps a callback: not called after stop().
  template <class F>
  auto guarded(F f) {
    return [alive = std::weak_ptr<int>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Core& core_;
  std::unique_ptr<store::Watch> watch_;
  OwnerIndex index_;
  std::deque<std::string> queue_;
  std::unordered_set<std::string> queued_;
  std::set<std::string> waiting_;        // to be looked at again when the timer fires
  loop::Timer reload_, retry_, events_;  // of the index, of tasks, and of the search for old events
  uint64_t term_ = 0;                    // in which it works
  bool busy_ = false;
  std::shared_ptr<int> alive_;
};

// Removes what is in a namespace, pods first and the rest when they are gone; `done` tells what is left.
void empty_namespace(Core& core, std::string ns, std::function<void(Result<NamespaceRest>)> done);
// A namespace without content loses its "kubernetes" finalizer, and with it its place in the store.
void release_namespace(Core& core, std::string ns, std::function<void(Result<bool> gone)> done);

}  // namespace limpet::api

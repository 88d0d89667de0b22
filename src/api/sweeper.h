// Cleans up behind deletions: dependents of owners that are gone, the contents of namespaces that end, old
// events.
//
// Follows the durable space with one watch and an index of who owns whom (only objects with owners are in
// it); one task at a time, each a chain of short store calls, so that a big sweep never holds the loop. Owned
// by ApiServer.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "api/context.h"
#include "api/garbage.h"

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
  void judge(const schema::Resource& r, std::string key, std::string uid, std::vector<OwnerRef> owners);
  void foreground(const schema::Resource& r, const std::string& key, const std::string& uid);
  void orphan(const schema::Resource& r, const std::string& key, const std::string& uid);
  void expire_events(std::string after);
  std::vector<std::string> dependents(const std::string& uid) const;
  // Wraps a callback: not called after stop().
  template <class F>
  auto guarded(F f) {
    return [alive = std::weak_ptr<int>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Core& core_;
  std::unique_ptr<store::Watch> watch_;
  std::unordered_map<std::string, std::set<std::string>> owned_;  // owner uid -> keys
  std::deque<std::string> queue_;
  std::unordered_set<std::string> queued_;
  std::set<std::string> waiting_;  // to be looked at again when the timer fires
  loop::Timer retry_, events_;
  bool busy_ = false;
  std::shared_ptr<int> alive_;
};

// Removes what is in a namespace; `done` tells whether anything was left.
void empty_namespace(Core& core, std::string ns, std::function<void(Result<bool> left)> done);
// A namespace without content loses its "kubernetes" finalizer, and with it its place in the store.
void release_namespace(Core& core, std::string ns, std::function<void(Result<bool> gone)> done);

}  // namespace limpet::api

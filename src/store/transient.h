// The volatile space: the same rules in the memory of this process, bounded, for what may be lost with it.
//
// Of a group only its leader has one; there is nothing in it when it begins to lead, and nothing is left when
// it loses the lead. Its revisions are term x 2^32 + counter with the raft term: there is one leader in a
// term, which comes to no other member and to no later start, so that no revision has two contents and a
// later leader's are greater. Commits are done when the call returns. Reads at older revisions are answered
// by undoing the ring's events.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "raft/types.h"
#include "store/store.h"
#include "store/watch_hub.h"

namespace limpet::store {

class Transient final : public Space {
 public:
  explicit Transient(loop::Loop& loop);

  void begin(raft::Term term);
  void end();

  void retain(const std::string& prefix, Retention retention);
  void stop() { stopped_ = true; }
  // Most of what is kept for watches that come later, and for reads of the past, goes.
  void shorten_history();

  void commit(Txn txn, std::function<void(Result<Committed>)> done) override;
  void get(const std::string& key, std::function<void(Result<std::optional<Item>>)> done) override;
  void list(const std::string& prefix, const std::string& after, Revision revision, size_t limit,
            std::function<void(Result<Page>)> done) override;
  int64_t count(const std::string& prefix) const override;
  Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after, Watch::Sink sink) override;
  Revision revision() const override { return hub_.now(); }
  Revision compacted_revision() const override { return hub_.floor(); }
  size_t watchers() const { return hub_.watchers(); }
  uint64_t lost() const { return hub_.lost(); }

 private:
  struct Slot {
    Revision created = 0;
    uint64_t order = 0;  // of the last change: revision and place
    int64_t changed_ms = 0;
    SharedBytes value;
    Revision revision = 0;
  };
  using Map = std::map<std::string, Slot, std::less<>>;
  struct Class {
    std::string prefix;
    Retention keep;
    std::map<uint64_t, Map::iterator> by_age;
    size_t bytes = 0;
  };
  void forget(Revision revision, const char* why);
  Result<> usable() const;
  Class& class_of(std::string_view key);
  Result<> check(const Txn& txn) const;
  void put(const std::string& key, std::string value, Revision revision, std::vector<Event>& events);
  void remove(Map::iterator it, Revision revision, std::vector<Event>& events);
  void shrink(Class& c, std::vector<Event>& events, Revision& revision);
  void expire();
  void arm();
  Result<> readable(Revision revision) const;
  std::map<std::string, Item> view_at(const std::string& prefix, Revision revision) const;

  loop::Loop& loop_;
  Map map_;
  std::vector<std::unique_ptr<Class>> classes_;  // the last one is for everything else
  WatchHub hub_;
  uint64_t order_ = 0;
  raft::Term term_ = 0;  // in which this member leads; 0: it does not
  bool stopped_ = false;
  int64_t shortened_ms_ = 0;
  loop::Timer timer_;
};

}  // namespace limpet::store

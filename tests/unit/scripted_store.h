// A store that hands everything on to a real one, unless the test takes a commit or a read: what it holds
// back, fails, changes, or lets another overtake.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "store/store.h"

namespace limpet::test {

// Borrows the real space.
class ScriptedSpace final : public store::Space {
 public:
  using Committed = std::function<void(Result<store::Committed>)>;
  using Got = std::function<void(Result<std::optional<store::Item>>)>;

  explicit ScriptedSpace(store::Space& real) : real_(real) {}

  // True: the test has taken the call, and answers it or not. Else it goes on as they left it.
  std::function<bool(store::Txn&, Committed&)> on_commit;
  std::function<bool(const std::string& key, Got&)> on_get;
  int commits = 0, lists = 0;  // that were asked for

  store::Space& real() { return real_; }  // where no script is

  void commit(store::Txn txn, Committed done) override {
    ++commits;
    if (on_commit && on_commit(txn, done)) return;
    real_.commit(std::move(txn), std::move(done));
  }
  void get(const std::string& key, Got done) override {
    if (on_get && on_get(key, done)) return;
    real_.get(key, std::move(done));
  }
  void list(const std::string& prefix, const std::string& after, store::Revision revision, size_t limit,
            std::function<void(Result<store::Page>)> done) override {
    ++lists;
    real_.list(prefix, after, revision, limit, std::move(done));
  }
  int64_t count(const std::string& prefix) const override { return real_.count(prefix); }
  Result<std::unique_ptr<store::Watch>> watch(const std::string& prefix, store::Revision after,
                                              store::Watch::Sink sink) override {
    return real_.watch(prefix, after, std::move(sink));
  }
  store::Revision revision() const override { return real_.revision(); }
  store::Revision compacted_revision() const override { return real_.compacted_revision(); }

 private:
  store::Space& real_;
};

class ScriptedStore final : public store::Store {
 public:
  explicit ScriptedStore(std::unique_ptr<store::Store> real)
      : real_(std::move(real)), durable_(real_->durable()), transient_(real_->transient()) {}

  ScriptedSpace& durable() override { return durable_; }
  ScriptedSpace& transient() override { return transient_; }
  store::Consensus& consensus() override { return real_->consensus(); }
  void retain(const std::string& prefix, store::Retention r) override { real_->retain(prefix, r); }
  void save(const std::string& name, std::string bytes, std::function<void(Result<>)> done) override {
    real_->save(name, std::move(bytes), std::move(done));
  }
  void load(const std::string& name, std::function<void(Result<std::optional<std::string>>)> done) override {
    real_->load(name, std::move(done));
  }
  void read_state(const std::string& next, std::function<void(Result<store::StatePart>)> done) override {
    real_->read_state(next, std::move(done));
  }
  void close(std::function<void()> done) override { real_->close(std::move(done)); }
  void on_fatal(std::function<void(Error)> f) override { real_->on_fatal(std::move(f)); }
  void on_quiet(std::function<void()> f) override { real_->on_quiet(std::move(f)); }
  store::Stats stats() const override { return real_->stats(); }
  std::string sqlite_version() const override { return real_->sqlite_version(); }
  int64_t last_commit_time() const override { return real_->last_commit_time(); }

 private:
  std::unique_ptr<store::Store> real_;
  ScriptedSpace durable_, transient_;
};

}  // namespace limpet::test

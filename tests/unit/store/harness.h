// A store in a temporary directory, driven synchronously: each call turns the loop until its answer is there.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "loop/loop.h"
#include "store/store.h"

namespace limpet::store::test {

// Removed with all that is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& bytes);

Op put(std::string key, std::string value, std::optional<Revision> expect = std::nullopt);
Op del(std::string key, std::optional<Revision> expect = std::nullopt);

class Harness {
 public:
  explicit Harness(Options options);
  ~Harness();

  Result<> open();
  void close();  // clean
  void drop();   // without closing, as the end of a process would
  void reopen() {
    close();
    must_open();
  }
  void must_open();
  bool is_open() const { return store_ != nullptr; }
  Store& store() { return *store_; }
  Space& durable() { return store_->durable(); }
  Space& transient() { return store_->transient(); }

  Result<Committed> commit(std::vector<Op> ops) { return commit(durable(), std::move(ops)); }
  Result<Committed> commit(Space& space, std::vector<Op> ops);
  Revision must_put(const std::string& key, const std::string& value);
  Result<std::optional<Item>> get(const std::string& key) { return get(durable(), key); }
  Result<std::optional<Item>> get(Space& space, const std::string& key);
  std::string value(const std::string& key);  // "<none>" when absent
  Result<Page> list(Space& space, const std::string& prefix, const std::string& after = "",
                    Revision revision = 0, size_t limit = 0);
  // Every page at one revision.
  Result<std::vector<Item>> all(const std::string& prefix, Revision revision = 0, size_t limit = 0);

  // Turns the loop until done, at most some seconds; false when it never was.
  bool turn_until(const std::function<bool()>& done);
  void turn(int times = 20);

  loop::Loop& loop() { return loop_; }
  ManualClock clock;
  Options options;
  std::vector<Error> fatal;  // what was reported

 private:
  loop::Loop loop_;
  std::unique_ptr<Store> store_;
};

// Collects what a watch delivers.
struct Seen {
  std::vector<Event> events;
  std::vector<size_t> calls;  // events per call
  std::optional<Error> lost;
  std::unique_ptr<Watch> watch;
  Watch::Sink sink();
};

std::string text_of(const Event& e);

}  // namespace limpet::store::test

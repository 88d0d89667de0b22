// The one lasting thread beside the loop. It owns the database connection and is spoken to by jobs, run in
// order.
#pragma once

#include <pthread.h>

#include <atomic>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "loop/loop.h"
#include "store/database.h"
#include "store/mailbox.h"

namespace limpet::store {

class StorageThread {
 public:
  using Job = std::function<void(Database&)>;

  static Result<std::unique_ptr<StorageThread>> start(loop::Loop& loop, std::unique_ptr<Database> db);
  // Runs what was submitted, ends the thread, closes the file without a checkpoint unless a job closed it.
  ~StorageThread();

  // Runs `work` on the thread and `done` with its result on the loop, unless `owner` is gone by then. Work
  // may touch only what it owns; `done` never leaves the loop's hands but as a closed box.
  template <class Work, class Done>
  void call(const std::weak_ptr<void>& owner, Work work, Done done) {
    using T = std::invoke_result_t<Work, Database&>;
    auto box = std::make_shared<Done>(std::move(done));
    used();
    submit([this, owner, work = std::move(work), box = std::move(box)](Database& db) mutable {
      auto result = std::make_shared<T>(work(db));
      --under_way_;
      loop_.post([owner = std::move(owner), result = std::move(result), box = std::move(box)] {
        if (const auto alive = owner.lock()) (*box)(std::move(*result));
      });
    });
  }
  void submit(Job job);
  // Jobs that were given to call() and have not been run.
  size_t under_way() const { return under_way_; }

  // When no call was made for so long, the database gives back the memory that it keeps to be quick, and `f`
  // is called on the loop. Once after each time of work: a store that nobody asks does not wake for it.
  void on_quiet(int64_t after_ms, loop::Task f);

 private:
  StorageThread(loop::Loop& loop, std::unique_ptr<Database> db)
      : loop_(loop), db_(std::move(db)), quiet_(loop, "store-quiet") {}
  static void* main(void* self);
  void used();
  void wait_for_quiet(int64_t ms);
  void give_back();

  loop::Loop& loop_;
  std::unique_ptr<Database> db_;
  Mailbox<Job> mailbox_;  // an empty job ends the thread
  std::atomic<size_t> under_way_{0};
  pthread_t thread_{};
  bool running_ = false;

  loop::Timer quiet_;
  int64_t quiet_ms_ = 0;  // 0: never
  int64_t used_ms_ = 0;   // when the last call was made
  loop::Task on_quiet_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::store

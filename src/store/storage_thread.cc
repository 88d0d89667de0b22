#include "store/storage_thread.h"

#include <signal.h>

namespace limpet::store {
namespace {
constexpr size_t kStackBytes = 512u << 10;
}

Result<std::unique_ptr<StorageThread>> StorageThread::start(loop::Loop& loop, std::unique_ptr<Database> db) {
  std::unique_ptr<StorageThread> t(new StorageThread(loop, std::move(db)));
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, kStackBytes);
  // Signals belong to the loop.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int rc = pthread_create(&t->thread_, &attr, main, t.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attr);
  if (rc != 0) return fail_errno(rc, "start the storage thread");
  t->running_ = true;
  return t;
}

StorageThread::~StorageThread() {
  if (!running_) return;
  mailbox_.push(nullptr);
  pthread_join(thread_, nullptr);
}

void StorageThread::submit(Job job) {
  ++under_way_;
  mailbox_.push(std::move(job));
}

void StorageThread::on_quiet(int64_t after_ms, loop::Task f) {
  quiet_ms_ = after_ms;
  on_quiet_ = std::move(f);
  used();
}

void StorageThread::used() {
  if (quiet_ms_ == 0) return;
  used_ms_ = loop_.now_ms();
  if (!quiet_.active()) wait_for_quiet(quiet_ms_);
}

// The timer runs its time whatever comes, and waits for the rest: a commit does not set it anew.
void StorageThread::wait_for_quiet(int64_t ms) {
  quiet_.start(ms, [this] {
    const int64_t left = used_ms_ + quiet_ms_ - loop_.now_ms();
    if (left > 0) return wait_for_quiet(left);
    give_back();
  });
}

void StorageThread::give_back() {
  submit([this, alive = std::weak_ptr<char>(alive_)](Database& db) {
    db.give_back_memory();
    --under_way_;
    loop_.post([this, alive] {
      if (!alive.expired()) on_quiet_();
    });
  });
}

void* StorageThread::main(void* self) {
  auto* t = static_cast<StorageThread*>(self);
  pthread_setname_np(pthread_self(), "store");
  for (;;) {
    const Job job = t->mailbox_.take();
    if (!job) break;
    job(*t->db_);
  }
  t->db_.reset();
  return nullptr;
}

}  // namespace limpet::store

#include "process.h"

#include <sys/random.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "loop/loop.h"
#include "store/storage_thread.h"

namespace sim {

Process* Process::current_ = nullptr;
std::map<std::string, uint64_t> Process::firings;

void Process::turn(std::function<void()> what) {
  if (!alive_) return;
  if (paused()) return later(paused_until_ - clock_.now(), std::move(what));
  Process* const before = std::exchange(current_, this);
  const auto keep = shared_from_this();
  what();
  current_ = before;
}

void Process::later(Time delay, std::function<void()> what) {
  clock_.after(delay, [self = shared_from_this(), what = std::move(what)] { self->turn(what); });
}

void Process::die() {
  if (!std::exchange(alive_, false)) return;
  if (on_death_) on_death_();
}

void Process::wrote() {
  if (writes_left_ > 0 && --writes_left_ == 0) die();
}

Time Process::disk_delay() {
  const Time begin = std::max({clock_.now(), disk_free_, stalled_until_});
  disk_free_ = begin + clock_.between(200, 5000);
  return disk_free_ - clock_.now();
}

void Process::arm(std::string name, bool kill, uint64_t nth) {
  armed_ = std::move(name), kill_ = kill, left_ = nth;
}

bool Process::hit(const std::string& name) {
  if (!alive_ || name != armed_ || left_ == 0 || --left_ > 0) return false;
  ++firings[name];
  if (kill_) return die(), false;
  fired_ = true;
  return true;
}

}  // namespace sim

// Two runs of a seed are the same: ids and seeds are drawn from it, too.
extern "C" ssize_t getrandom(void* out, size_t size, unsigned) {
  static limpet::SeededRandom outside(1);
  sim::Process* const p = sim::Process::current();
  (p ? p->clock().random() : outside).fill(out, size);
  return static_cast<ssize_t>(size);
}

namespace limpet::failpoint {
bool hit(std::string_view name) noexcept {
  sim::Process* const p = sim::Process::current();
  return p && p->hit(std::string(name));
}
}  // namespace limpet::failpoint

namespace limpet::loop {

struct Loop::Impl {
  std::shared_ptr<sim::Process> process;
};

Loop::Loop() : impl_(std::make_unique<Impl>(sim::Process::current()->shared_from_this())) {}
Loop::~Loop() = default;
void Loop::defer(Task f) { impl_->process->later(0, std::move(f)); }
void Loop::post(Task f) { impl_->process->later(0, std::move(f)); }
int64_t Loop::now_ms() const { return static_cast<int64_t>(impl_->process->own_time() / sim::kMs); }

// What is armed outlives its timer, and sees by the count that it is not wanted any more.
struct Timer::Impl {
  std::shared_ptr<sim::Process> process;
  const char* name;
  std::shared_ptr<uint64_t> armed = std::make_shared<uint64_t>(0);
  bool active = false;
};

Timer::Timer(Loop& loop, const char* name) : impl_(new Impl{loop.impl().process, name}) {}

Timer::~Timer() {
  stop();
  delete impl_;
}

void Timer::start(int64_t delay_ms, Task f) {
  stop();
  impl_->active = true;
  impl_->process->later(impl_->process->real(static_cast<sim::Time>(delay_ms) * sim::kMs),
                        [impl = impl_, armed = impl_->armed, number = *impl_->armed, f = std::move(f)] {
                          if (*armed != number) return;
                          impl->active = false;
                          f();
                        });
}

void Timer::stop() {
  ++*impl_->armed;
  impl_->active = false;
}

bool Timer::active() const { return impl_->active; }

}  // namespace limpet::loop

namespace limpet::store {

Result<std::unique_ptr<StorageThread>> StorageThread::start(loop::Loop& loop, std::unique_ptr<Database> db) {
  return std::unique_ptr<StorageThread>(new StorageThread(loop, std::move(db)));
}

StorageThread::~StorageThread() = default;

void StorageThread::submit(Job job) {
  ++under_way_;
  mailbox_.push(std::move(job));
  sim::Process& process = *loop_.impl().process;
  process.later(process.disk_delay(), [this] {
    const Job next = mailbox_.take();
    next(*db_);
  });
}

// Whenever it likes, not only when nothing is asked of it.
void StorageThread::on_quiet(int64_t after_ms, loop::Task f) {
  if (f) on_quiet_ = std::move(f);
  sim::Process& process = *loop_.impl().process;
  process.later(process.clock().between(1, 5000) * sim::kMs, [this, after_ms] {
    db_->give_back_memory();
    on_quiet_();
    on_quiet(after_ms, nullptr);
  });
}

void StorageThread::used() {}

}  // namespace limpet::store
